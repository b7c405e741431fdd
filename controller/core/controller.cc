// SPDX-License-Identifier: Apache-2.0
// The controller's connection to the dataplane: who is there, what does it hold, what should it.
#include "controller/core/controller.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "common/log.h"
#include "common/status.h"
#include "controller/core/convert.h"
#include "controller/core/path_request.h"
#include "controller/core/secrets.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;

// LIMIT: how often a dataplane that answers oddly is asked again.
constexpr std::chrono::seconds kResyncInterval{1};
// LIMIT: a local daemon answers in microseconds; who asks gets what was known before.
constexpr std::chrono::seconds kInfoWait{1};
// LIMIT: the most workers that a handshake can announce (controller/noise/engine.h).
constexpr uint32_t kMaxWorkers = 16;

// Sixty-four random bits: an echo that a former controller sent must not be taken for ours.
uint64_t RandomToken() {
  uint64_t token = 0;
  randombytes_buf(&token, sizeof(token));
  return token;
}

std::optional<SessionId> IdOf(const dp::SessionState& session) {
  SessionId id;
  if (session.session_id().size() != id.size()) return std::nullopt;
  std::ranges::copy(AsBytes(session.session_id()), id.begin());
  return id;
}

}  // namespace

Controller::Controller(boost::asio::io_context& loop, DataplaneClient& dataplane, Options options)
    : loop_(loop),
      dataplane_(dataplane),
      config_(std::move(options.config)),
      self_(options.self),
      keyring_(std::move(options.cluster)),
      clock_(std::move(options.clock)),
      started_(clock_()),
      revocations_(keyring_ ? keyring_->keys() : std::vector<ClusterKey>(),
                   config_.state_dir + "/revocations.bin"),
      relay_timer_(loop),
      handshakes_(
          loop, dataplane,
          {.engine = std::move(options.engine),
           .limits = ToLimits(config_.session),
           .clock = clock_,
           .hooks = {
               .epoch = [this](const NodeId& id) { return EpochOf(id); },
               .on_installed = [this](const auto& s) { OnInstalled(s); },
               .on_refused = [this](const auto& s, const auto& status) { OnRefused(s, status); },
               .on_void = [this](const auto& s) { RemoveSession(s.peer, s.session_id); },
               .on_failure = [this](const auto& f) { OnFailure(f); },
               .on_call = [this](const auto& call) { OnCall(call); },
               .on_established = [this](const auto& s) { OnEstablished(s); },
               .divert = [this](const auto& d) { return Divert(d); }}}),
      sync_(dataplane, peers_,
            {.node = [this] { return NodeMessage(); },
             .applied = [this] { OnApplied(); },
             .lost = [this] { ResyncLater(absl::FailedPreconditionError(sync_.error())); }}),
      paths_(loop, dataplane,
             {.self = self_.node_id(),
              .clock = clock_,
              .new_token = [this] { return next_echo_++; },
              .is_relay = [this](const auto& id, const auto& at) { return IsRelayPath(id, at); },
              .on_move = [this](const NodeId& id, const Endpoint& to) { OnMove(id, to); },
              .on_outcome = [this](const auto& id, auto outcome) { OnOutcome(id, outcome); }}),
      resync_timer_(loop),
      session_check_interval_(options.session_check_interval),
      session_check_timer_(loop),
      next_echo_(RandomToken()) {
  if (keyring_) handshakes_.SetSecrets(SecretsOf(*keyring_));
  const bool discovers = !config_.nucleus.addresses.empty() || config_.WantsBeacons();
  if (!discovers || options.identity == nullptr || !keyring_) return;
  discovery_ = std::make_unique<Discovery>(
      loop, config_,
      Discovery::Options{
          .identity = options.identity,
          .cluster = &*keyring_,
          .clock = clock_,
          .send = [this](const Endpoint& to, auto datagram) { SendDatagram(to, {}, datagram); },
          .send_from = [this](const Endpoint& to, const IpAddress& from,
                              auto datagram) { SendDatagram(to, from, datagram); },
          .records = {.changed = [this](const NodeRecord& record) { OnRecord(record); },
                      .unlisted = [this](const NodeId& id) { OnUnlisted(id); },
                      .is_revoked =
                          [this](const NodeId& id) { return revocations_.Find(id) != nullptr; }},
          .revoked = [this](const auto& message) { return OnRevocation(message); },
          .revocations = &revocations_.list(),
          .secret_of = [this](const NodeId& id) { return SharedSecretWith(id); },
          .relocated = [this](const NodeId& id) { OnRelocated(id); },
          .sessions = [this] { return DirectSessions(); },
          .reach =
              [this](const NodeId& id) {
                const Peer* peer = peers_.Find(id);
                return peer == nullptr ? Endpoint() : DirectEndpointOf(*peer);
              },
          .network_changed = [this] { paths_.OnNetworkChange(); },
          .called = [this](const NodeId& id) { handshakes_.Punch(id); },
          .allocated = [this](const auto& addresses) { return OnAllocated(addresses); },
          .relay = [this](const Endpoint& relay) { OnRelay(relay); },
          .handshake = [this](const NodeId& from,
                              auto datagram) { OnRelayedHandshake(from, datagram); },
          .relaying = {.pass = [this](const NodeId& from, const NodeId& to,
                                      auto datagram) { OnPass(from, to, datagram); },
                       .open = [this](const NodeId& from, const NodeId& to,
                                      const auto& message) { OnOpenRelay(from, to, message); },
                       .handshake = [this](
                                        const NodeId& via, const NodeId& from,
                                        auto datagram) { OnPassedHandshake(via, from, datagram); },
                       .relay_closed = [this](const NodeId& via) { OnRelayClosed(via); }},
          .interfaces = std::move(options.interfaces),
          .links = std::move(options.links)});
  if (config_.nucleus.port_search) StartSearches();
}

void Controller::SendDatagram(const Endpoint& to, const std::optional<IpAddress>& from,
                              std::span<const uint8_t> datagram) {
  dp::PacketOut packet;
  ToProto(to, *packet.mutable_to());
  if (from) packet.set_from(AsString(from->raw()));
  packet.set_payload(AsString(datagram));
  dataplane_.SendPacket(packet);
}

dp::Node Controller::NodeMessage() {
  dp::Node node;
  const bool down = node_state_ == NodeState::kDown;
  node.set_down(down);
  for (const InterfaceAddress& address : config_.addresses) {
    if (down) break;
    dp::Prefix& out = *node.add_addresses();
    out.set_address(AsString(address.address.raw()));
    out.set_length(address.length);
  }
  node.set_mtu(config_.mtu);
  node.set_mac1_key(AsString(handshakes_.engine().mac1_key()));
  *node.mutable_paths() = ToProto(config_.paths.OverlaidBy(api_paths_));
  node_pushed_ = true;
  if (config_.relay.for_peers) {
    node.mutable_relay()->set_pair_bytes_per_s(config_.relay.limits.pair_bytes_per_s);
    node.mutable_relay()->set_total_bytes_per_s(config_.relay.limits.total_bytes_per_s);
  }
  if (discovery_) {
    node.set_quic_cid_key(AsString(discovery_->cid_key()));
    node.set_stun_key(AsString(discovery_->stun_key()));
    for (const Key32& key : discovery_->beacon_keys()) node.add_beacon_keys(AsString(key.bytes()));
    for (const KnockKey& key : discovery_->knock_keys()) node.add_knock_keys(AsString(key));
  }
  return node;
}

DataplaneView Controller::dataplane_view() const {
  DataplaneView view{.connected = connected_ && sync_.ready(),
                     .error = connected_ ? sync_.error() : disconnected_why_,
                     .info = info_,
                     .info_time = info_time_};
  if (view.connected) view.error.clear();
  if (!view.connected && view.error.empty()) view.error = "synchronising";
  return view;
}

PeerState Controller::StateOf(const Peer& peer) const {
  if (peer.revoked) return PeerState::kRevoked;
  if (peer.trouble == Trouble::kUnanswered) return PeerState::kUnreachable;
  if (peer.has_confirmed_session()) return PeerState::kUp;
  if (peer.trouble == Trouble::kRefused) return PeerState::kUnreachable;
  return handshakes_.IsConnecting(peer.id()) ? PeerState::kConnecting : PeerState::kIdle;
}

std::optional<PathClass> Controller::PathOf(const Peer& peer) const {
  if (!peer.has_confirmed_session() || !peer.endpoint.is_set()) return std::nullopt;
  return paths_.ClassOf(peer.id(), peer.endpoint);
}

void Controller::OnConnected(const std::string& boot_id) {
  connected_ = true;
  disconnected_why_.clear();
  ++connection_;
  spdlog::info("dataplane {}: connected{}", config_.dataplane_socket,
               boot_id_.empty() || boot_id == boot_id_ ? "" : "; it has restarted");
  ReadInfo();
  CheckSessionsLater();
}

void Controller::OnDisconnected(const absl::Status& why) {
  const std::string text(Message(why));
  // Each further try ends here as well: one line when it goes, one when the cause changes.
  if (connected_ || text != disconnected_why_) {
    spdlog::warn("dataplane {}: not connected: {}", config_.dataplane_socket, text);
  }
  connected_ = false;
  adopted_ = false;
  ++connection_;
  disconnected_why_ = text;
  resync_timer_.cancel();
  session_check_timer_.cancel();
  sync_.Stop();
  if (discovery_) discovery_->OnDataplaneGone();
  handshakes_.OnDisconnected();
  paths_.Stop();
  const auto echoes = std::exchange(echoes_, {});
  for (const auto& [token, done] : echoes) {
    done(absl::UnavailableError("the dataplane is not connected"));
  }
}

void Controller::ReadInfo() {
  dataplane_.GetInfo(
      [this, connection = connection_](const absl::StatusOr<dp::GetInfoResponse>& info) {
        if (connection != connection_) return;
        if (!info.ok()) {
          ResyncLater(info.status());
          return;
        }
        TakeInfo(*info);
        handshakes_.engine().SetWorkers(
            static_cast<int>(std::clamp(info_.workers(), uint32_t{1}, kMaxWorkers)));
        OfferCiphers();
        Resync();
      });
}

void Controller::OfferCiphers() {
  offered_ciphers_ = CiphersToOffer(config_.session.cipher, info_);
  handshakes_.engine().SetCiphers(offered_ciphers_);
}

void Controller::TakeInfo(const dp::GetInfoResponse& info) {
  info_ = info;
  // The in-kernel path may come and go while the dataplane runs.
  handshakes_.engine().SetControlChannels(info_.control_channels() > 0 ? 1 : 0);
  info_time_ = clock_();
}

void Controller::RefreshInfo(std::function<void()> done) {
  if (!connected_) return done();
  const auto timer = std::make_shared<boost::asio::steady_timer>(loop_, kInfoWait);
  const auto waiting = std::make_shared<std::function<void()>>(std::move(done));
  const auto finish = [timer, waiting] {
    const auto call = std::exchange(*waiting, nullptr);
    if (!call) return;
    timer->cancel();
    call();
  };
  timer->async_wait([finish](const boost::system::error_code&) { finish(); });
  dataplane_.GetInfo(
      [this, connection = connection_, finish](const absl::StatusOr<dp::GetInfoResponse>& info) {
        if (info.ok() && connection == connection_) TakeInfo(*info);
        finish();
      });
}

void Controller::Resync() {
  dataplane_.GetState(
      [this, connection = connection_](const absl::StatusOr<dp::GetStateResponse>& state) {
        if (connection != connection_) return;
        if (state.ok()) {
          Adopt(*state);
        } else {
          ResyncLater(state.status());
        }
      });
}

void Controller::ResyncLater(const absl::Status& why) {
  spdlog::warn("dataplane: {}; asking again", Message(why));
  resync_timer_.expires_after(kResyncInterval);
  resync_timer_.async_wait(
      [this, connection = connection_](const boost::system::error_code& error) {
        if (!error && connection == connection_) ReadInfo();
      });
}

// Takes over what the dataplane holds, then makes it hold what we want. What it holds of peers that
// we do not know goes with the full state.
void Controller::Adopt(const dp::GetStateResponse& state) {
  const bool restarted = state.boot_id() != boot_id_ && !boot_id_.empty();
  boot_id_ = state.boot_id();
  std::map<NodeId, const dp::PeerState*> theirs;
  for (const dp::PeerState& peer : state.peers()) {
    if (const auto id = NodeId::FromBytes(peer.peer_id())) theirs.emplace(*id, &peer);
  }
  adopted_ = true;
  const std::set<NodeId> not_to_adopt = std::exchange(not_to_adopt_, {});
  size_t adopted = 0;
  for (const auto& [name, peer] : peers_) {
    const auto found = theirs.find(peer->id());
    const bool had_session = !peer->sessions.empty();
    const dp::PeerState* held = found == theirs.end() || peer->revoked ? nullptr : found->second;
    const bool is_void = node_state_ == NodeState::kDown || not_to_adopt.contains(peer->id());
    if (held != nullptr && is_void) {
      for (const dp::SessionState& session : held->sessions()) {
        if (const auto id = IdOf(session)) RemoveSession(peer->id(), *id);
      }
      held = nullptr;
    }
    AdoptSessions(*peer, held);
    adopted += peer->sessions.size();
    if (!peer->sessions.empty() || peer->revoked) continue;
    if ((restarted && had_session) || (peer->spec.keepalive_s > 0 && peer->endpoint.is_set())) {
      call_when_applied_.insert(peer->id());
    }
  }
  UpdateRelayPoints();
  if (restarted) LoseRelayed();
  if (state.generation() > 0) {
    spdlog::info("dataplane: adopted generation {} with {} sessions of {} peers",
                 state.generation(), adopted, theirs.size());
  }
  sync_.PushFull(state.generation(), [&](const Peer& peer) -> std::optional<Endpoint> {
    if (untold_endpoints_.contains(peer.id())) return peer.spec.endpoint;
    // Where a live session goes is fresher than any file.
    if (!peer.sessions.empty()) return std::nullopt;
    return peer.endpoint;
  });
}

void Controller::AdoptSessions(Peer& peer, const dp::PeerState* state) {
  noise::HandshakeEngine& engine = handshakes_.engine();
  for (const LiveSession& session : peer.sessions) engine.ReleaseTag(session.tag);
  peer.sessions.clear();
  peer.cipher.reset();
  if (state == nullptr) return;
  for (const dp::SessionState& session : state->sessions()) {
    const auto id = IdOf(session);
    if (!id) continue;
    LiveSession live{.id = *id};
    if (session.receive_channel_ids_size() > 0) {
      live.tag = noise::HandshakeEngine::TagOf(session.receive_channel_ids(0));
    }
    live.cipher = FromProto(session.cipher()).value_or(live.cipher);
    live.confirmed = session.slot() != dp::SESSION_SLOT_NEXT;
    if (session.slot() == dp::SESSION_SLOT_CURRENT) peer.cipher = live.cipher;
    engine.ReserveTag(live.tag);
    peer.sessions.push_back(live);
    const Instant since = clock_() - std::chrono::milliseconds(session.age_ms());
    if (!peer.last_handshake || *peer.last_handshake < since) peer.last_handshake = since;
  }
  const auto endpoint = state->has_endpoint() ? FromProto(state->endpoint()) : std::nullopt;
  if (endpoint && !peer.sessions.empty() && !untold_endpoints_.contains(peer.id())) {
    MovePeer(peer, *endpoint);
  }
  if (peer.has_confirmed_session()) {
    paths_.SetPresent(peer.id(), peer.endpoint);
    paths_.OnSession(peer.id());
  }
}

void Controller::OnApplied() {
  if (discovery_ && node_state_ == NodeState::kUp) {
    discovery_->OnDataplane(config_, info_.tun_name(), static_cast<uint16_t>(info_.listen_port()));
  }
  untold_endpoints_.clear();
  KeepRelaysSoon();
  if (std::exchange(node_pushed_, false)) RefreshInfo([] {});
  for (const auto& done : std::exchange(when_applied_, {})) done();
  for (const NodeId& id : std::exchange(call_when_applied_, {})) {
    const Peer* peer = peers_.Find(id);
    if (peer != nullptr && peer->sessions.empty()) handshakes_.Initiate(id);
  }
}

void Controller::CheckSessionsLater() {
  session_check_timer_.expires_after(session_check_interval_);
  session_check_timer_.async_wait(
      [this, connection = connection_](const boost::system::error_code& error) {
        if (!error && connection == connection_) CheckSessions();
      });
}

// Events can be missed: the end of a session may overtake the answer to its installation, or find
// the queue full. What the dataplane does not hold any more must not be shown and waited for.
void Controller::CheckSessions() {
  DropUnlisted();
  std::set<SessionId> known;  // a session installed after the question is not in the answer
  for (const auto& [name, peer] : peers_) {
    for (const LiveSession& session : peer->sessions) known.insert(session.id);
  }
  if (!sync_.ready() || known.empty()) {
    CheckSessionsLater();
    return;
  }
  dataplane_.GetState([this, connection = connection_, known = std::move(known)](
                          const absl::StatusOr<dp::GetStateResponse>& state) {
    if (connection != connection_) return;
    if (state.ok()) DropGhosts(known, *state);
    CheckSessionsLater();
  });
}

}  // namespace omni
