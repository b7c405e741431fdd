// SPDX-License-Identifier: Apache-2.0
// What happens while connected: sessions come and go, datagrams and echoes arrive, handshakes fail.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/asio/post.hpp>

#include "common/log.h"
#include "common/status.h"
#include "controller/core/controller.h"
#include "controller/core/convert.h"

namespace omni {

namespace dp = dataplane::v1;

namespace {

// LIMIT: as long as the engine tries before it gives up.
constexpr Duration kRefusalSpeaks = 90s;
constexpr uint8_t kBeaconType = 8;  // OMNI_MSG_BEACON of bpf/abi.h
// LIMIT: calls that wait for one peer at a time.
constexpr size_t kMaxWaiting = 1024;

}  // namespace

Peer* Controller::FindPeer(const std::string& raw_id) const {
  const auto id = NodeId::FromBytes(raw_id);
  Peer* peer = id ? peers_.Find(*id) : nullptr;
  // To the dataplane a revoked peer does not exist.
  return peer == nullptr || peer->revoked ? nullptr : peer;
}

void Controller::OnPacketIn(const dp::PacketIn& packet) {
  const auto from = FromProto(packet.from());
  if (!from || packet.payload().empty()) return;
  const auto datagram = AsBytes(packet.payload());
  const bool is_beacon = datagram.front() == kBeaconType;
  if (!IsQuic(datagram.front()) && !IsStun(datagram) && !is_beacon) {
    return handshakes_.OnDatagram(datagram, *from);
  }
  if (discovery_) discovery_->OnDatagram(datagram, *from);
}

void Controller::OnEvent(const dp::Event& event) {
  switch (event.event_case()) {
    case dp::Event::kHandshakeWanted: {
      Peer* peer = FindPeer(event.handshake_wanted().peer_id());
      if (peer == nullptr) return;
      if (!handshakes_.engine().CanCall(peer->id())) {
        FailureLog::NotePeerError(*peer, "no endpoint is known: waiting for the peer to call",
                                  clock_());
      }
      handshakes_.Initiate(peer->id());
      return;
    }
    case dp::Event::kSessionConfirmed:
      OnSessionConfirmed(event.session_confirmed());
      return;
    case dp::Event::kSessionEnded:
      OnSessionEnded(event.session_ended());
      return;
    case dp::Event::kEndpointChanged: {
      Peer* peer = FindPeer(event.endpoint_changed().peer_id());
      const auto endpoint = FromProto(event.endpoint_changed().endpoint());
      if (peer == nullptr || !endpoint) return;
      spdlog::debug("peer {}: now at {}", peer->spec.name, endpoint->ToString());
      MovePeer(*peer, *endpoint);
      OnRelayPeer(peer->id());
      paths_.SetPresent(peer->id(), *endpoint);
      return;
    }
    case dp::Event::kEchoReply:
      OnEchoReply(event.echo_reply());
      return;
    case dp::Event::EVENT_NOT_SET:
      return;  // an event that a newer dataplane knows
  }
}

void Controller::OnInstalled(const noise::EstablishedSession& session) {
  Peer* peer = peers_.Find(session.peer);
  OMNI_CHECK(peer != nullptr);  // or it would be of another epoch
  LiveSession live{.id = session.session_id, .cipher = session.cipher};
  if (!session.receive.empty()) {
    live.tag = noise::HandshakeEngine::TagOf(session.receive.front().id);
  }
  peer->sessions.push_back(live);
  // As in the dataplane: an unconfirmed session does not move a peer whose address is known.
  const bool moves = session.role == noise::Role::kInitiator || !peer->endpoint.is_set();
  if (moves && session.endpoint.is_set()) {
    MovePeer(*peer, session.endpoint);
  }
  if (session.role == noise::Role::kResponder) return;  // until the dataplane says so
  peer->sessions.back().confirmed = true;
  if (session.rtt) peer->rtt = session.rtt;
  Confirm(*peer, session.cipher);
  CallIfStranded(*peer);  // its relay may have gone meanwhile
  MeasureRtt(*peer);
}

void Controller::OnRefused(const noise::EstablishedSession& session, const absl::Status& status) {
  Peer* peer = peers_.Find(session.peer);
  if (peer == nullptr) return;
  ++peer->handshake_failures;
  FailureLog::NotePeerError(
      *peer, fmt::format("the dataplane refused the session: {}", Message(status)), clock_());
}

void Controller::OnFailure(const noise::Failure& failure) {
  using noise::FailureReason;
  if (failure.reason == FailureReason::kDuplicate) return failures_.Count(failure.reason);
  Peer* peer = failure.peer ? peers_.Find(*failure.peer) : nullptr;
  if (peer == nullptr) {
    failures_.CountStranger(failure, clock_());
    return;
  }
  ++peer->handshake_failures;
  switch (failure.reason) {
    case FailureReason::kAuthentication:
      failures_.Count(failure.reason);
      if (peer->trouble == Trouble::kNone) peer->trouble = Trouble::kRefused;
      peer->refused_at = clock_();
      FailureLog::NotePeerError(*peer, "handshake: " + noise::Describe(failure.reason), clock_());
      return;
    case FailureReason::kTimeout:
      failures_.Count(failure.reason);
      // That its answers do not authenticate says more than that no good one came.
      if (!peer->refused_at || clock_() - *peer->refused_at > kRefusalSpeaks) {
        peer->trouble = Trouble::kUnanswered;
        FailureLog::NotePeerError(
            *peer,
            fmt::format("handshake with {}: {}",
                        peer->endpoint.is_set() ? peer->endpoint.ToString() : "its candidates",
                        noise::Describe(failure.reason)),
            clock_());
      }
      if (peer->spec.keepalive_s > 0) InitiateSoon(peer->id());
      return;
    default:
      // A replayed or mangled copy of what the peer once sent proves nothing about the peer.
      failures_.CountStranger(failure, clock_());
  }
}

// Whose session works needs no help to be reached, unless the first try finds nobody.
void Controller::OnCall(const noise::Call& call) {
  Peer* peer = peers_.Find(call.peer);
  if (peer == nullptr || !discovery_) return;
  if (call.tries == 2 && !peer->has_confirmed_session() && learned_.contains(call.peer) &&
      !RelayFor(call.peer).is_set()) {
    FailureLog::NotePeerError(
        *peer, "no direct answer yet, and nothing relays: no Nucleus does, and no peer in reach",
        clock_());
  }
  if (call.tries > 1 || !peer->has_confirmed_session()) discovery_->Call(call.peer);
}

void Controller::OnSessionConfirmed(const dp::SessionConfirmed& event) {
  Peer* peer = FindPeer(event.peer_id());
  if (peer == nullptr) return;
  const auto session = std::ranges::find_if(
      peer->sessions, [&](const auto& s) { return AsString(s.id) == event.session_id(); });
  if (session == peer->sessions.end() || session->confirmed) return;
  session->confirmed = true;
  Confirm(*peer, session->cipher);
}

void Controller::OnSessionEnded(const dp::SessionEnded& event) {
  Peer* peer = FindPeer(event.peer_id());
  if (peer == nullptr) return;
  const auto session = std::ranges::find_if(
      peer->sessions, [&](const auto& s) { return AsString(s.id) == event.session_id(); });
  if (session == peer->sessions.end()) return;
  Forget(*peer, LiveSession(*session), event.reason());
}

void Controller::Forget(Peer& peer, const LiveSession& session, dp::SessionEnded::Reason why) {
  handshakes_.engine().ReleaseTag(session.tag);
  std::erase_if(peer.sessions, [&](const LiveSession& s) { return s.id == session.id; });
  if (peer.has_confirmed_session()) return;
  paths_.OnNoSession(peer.id());
  OnRelayPeer(peer.id());
  if (!session.confirmed && why == dp::SessionEnded::REASON_EXPIRED) {
    FailureLog::NotePeerError(peer,
                              "the peer called, but did not use the session: our answer did not "
                              "reach it, or its secrets differ from ours",
                              clock_());
  }
  if (session.confirmed) spdlog::info("peer {}: the last session has ended", peer.spec.name);
  if (peer.spec.keepalive_s > 0) InitiateSoon(peer.id());
}

void Controller::DropGhosts(const std::set<SessionId>& known, const dp::GetStateResponse& state) {
  std::set<std::string> alive;
  for (const dp::PeerState& peer : state.peers()) {
    for (const dp::SessionState& session : peer.sessions()) alive.insert(session.session_id());
  }
  for (const auto& [name, peer] : peers_) {
    for (const LiveSession& session : std::vector<LiveSession>(peer->sessions)) {
      if (!known.contains(session.id) || alive.contains(std::string(AsString(session.id)))) {
        continue;
      }
      spdlog::debug("peer {}: a session has ended unnoticed", name);
      Forget(*peer, session, dp::SessionEnded::REASON_UNSPECIFIED);
    }
  }
}

// Both sides hold a session, the one that sends from now on. A call under way has nothing left to
// bring: of two at once one is refused as too soon, and its next try could go through a relay.
void Controller::Confirm(Peer& peer, Cipher cipher) {
  handshakes_.engine().OnConfirmed(peer.id());
  peer.cipher = cipher;
  ++peer.handshakes;
  peer.last_handshake = clock_();
  if (peer.handshakes == 1 || peer.trouble != Trouble::kNone || !peer.last_error.empty()) {
    spdlog::info("peer {}: up, at {}", peer.spec.name, peer.endpoint.ToString());
  }
  peer.trouble = Trouble::kNone;
  peer.last_error.clear();
  OnConfirmedRelay(peer.id());
  paths_.SetPresent(peer.id(), peer.endpoint);
  paths_.OnSession(peer.id());
  if (discovery_) discovery_->OnSession(peer.id());
  for (const auto& ready : std::exchange(peer.waiting, {})) {
    boost::asio::post(loop_, ready);
  }
}

void Controller::MovePeer(Peer& peer, const Endpoint& to) {
  const NodeId& id = peer.id();
  peer.MoveTo(to);
  handshakes_.SetEndpoint(id, to);
  if (learned_.contains(id)) handshakes_.SetRelay(id, RelayFor(id));
}

void Controller::InitiateSoon(const NodeId& id) {
  // Later, because this may be the engine's own output that is being looked at.
  boost::asio::post(loop_, [this, id] {
    if (peers_.Find(id) != nullptr) handshakes_.Initiate(id);
  });
}

bool Controller::AwaitSession(const NodeId& id, std::function<void()> ready) {
  Peer* peer = peers_.Find(id);
  if (peer == nullptr || peer->waiting.size() >= kMaxWaiting) return false;
  peer->waiting.push_back(std::move(ready));
  return true;
}

void Controller::MeasureRtt(Peer& peer) {
  LoseEcho(peer.id(), peer.rtt_token);  // if the former one was not answered
  // OnEchoReply() notes the time of every echo.
  peer.rtt_token = SendEcho(peer.id(), 0, [](const absl::StatusOr<Duration>&) {});
}

uint64_t Controller::SendEcho(const NodeId& id, uint32_t padding, EchoDone done) {
  const uint64_t token = next_echo_++;
  echoes_.emplace(token, std::move(done));
  dp::SendEchoRequest request;
  request.set_peer_id(id.ToBytes());
  request.set_token(token);
  request.set_padding(padding);
  dataplane_.SendEcho(request, [this, token](const absl::StatusOr<dp::SendEchoResponse>& sent) {
    if (sent.ok()) return;
    const auto echo = echoes_.extract(token);
    if (!echo.empty()) echo.mapped()(sent.status());
  });
  return token;
}

void Controller::OnOutcome(const NodeId& id, LossWindow::Outcome outcome) {
  if (Peer* peer = peers_.Find(id)) peer->loss.Add(outcome, clock_());
}

void Controller::LoseEcho(const NodeId& id, uint64_t token) {
  // Or it was answered, or never sent.
  if (echoes_.erase(token) != 0) OnOutcome(id, LossWindow::Outcome::kLost);
}

void Controller::OnMove(const NodeId& id, const Endpoint& to) {
  const Peer* peer = peers_.Find(id);
  if (peer == nullptr) return;
  spdlog::info("peer {}: moves from {} to {} ({})", peer->spec.name, peer->endpoint.ToString(),
               to.ToString(), Name(paths_.ClassOf(id, to)));
}

void Controller::OnEchoReply(const dp::EchoReply& event) {
  const auto rtt = std::chrono::nanoseconds(event.rtt_ns());
  if (paths_.OnEchoReply(event.token(), rtt)) return;
  if (searches_ && searches_->OnEchoReply(event.token())) return;
  const auto echo = echoes_.extract(event.token());
  if (echo.empty()) return;
  if (Peer* peer = FindPeer(event.peer_id())) {
    peer->rtt = rtt;
    peer->loss.Add(LossWindow::Outcome::kAnswered, clock_());
  }
  echo.mapped()(rtt);
}

}  // namespace omni
