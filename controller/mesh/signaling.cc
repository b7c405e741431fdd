// SPDX-License-Identifier: Apache-2.0
#include "controller/mesh/signaling.h"

#include <algorithm>
#include <set>
#include <utility>

#include "common/log.h"
#include "common/status.h"
#include "signal/record/codes.h"
#include "signal/record/proof.h"
#include "signal/record/record.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using quic::ConnectionId;

constexpr std::string_view kMeshExporterLabel = "omninervous mesh v1";
// LIMIT: connections at a time, at some 50 KiB each; half of them may be of others' making.
constexpr size_t kMaxLinks = 64;
constexpr size_t kMaxOfOnePeer = 2;  // both sides may begin at once
// LIMIT: nodes that wait to be spoken to; as many as there are sessions on a large node. Further
// ones are not told: they ask.
constexpr size_t kMaxPending = 4096;
constexpr size_t kMaxSay = 32;  // messages for each of them
// LIMIT: TLS handshakes of ours under way.
constexpr size_t kMaxBeginning = 16;
// LIMIT: proto/omni/signal/v1/mesh.proto.
constexpr double kMessageBurst = 100;
constexpr double kMessagesPerSecond = 10;
constexpr double kForwardBurst = 20;
constexpr double kForwardsPerSecond = 5;
constexpr Duration kHelloWithin = 5s;
constexpr Duration kIdle = 60s;
// LIMIT: more than any round trip; then the peer is somewhere else, or gone.
constexpr Duration kUnheard = 3s;
constexpr Duration kDoubt = 1s;
// LIMIT: the host's own time for a handshake, and some.
constexpr Duration kBeginWithin = 15s;
// LIMIT: between connections to one node, growing while they fail.
constexpr Duration kFirstPause = 2s;
constexpr Duration kLongestPause = 60s;
constexpr Duration kLook = 500ms;

NodeId IdOfKey(const quic::PublicKey& key) { return NodeId::FromIdentityKey(key); }

}  // namespace

PeerSignaling::PeerSignaling(Options options) : options_(std::move(options)) {
  quic::HostOptions host;
  host.identity = options_.identity;
  host.protocol = kMeshProtocol;
  host.cid_key = options_.cid_key;
  host.send = [this](const quic::Route& to, std::span<const uint8_t> datagram) {
    options_.send(to.remote, datagram);
  };
  host.max_message_bytes = kMaxPeerMessageBytes;
  host.max_queued_bytes = 4 * kMaxPeerMessageBytes;
  host.handshake_timeout = 5s;
  // One more than there are links: OnConnected() makes room.
  host.max_accepted = kMaxLinks + kMaxBeginning;
  host.knocks.emplace();
  for (const ClusterKeys& keys : options_.cluster->held()) {
    host.knocks->push_back(KnockKeyOf(keys.psk, options_.identity->node_id()));
  }
  host_ = std::make_unique<quic::Host>(std::move(host), *this);
}

bool PeerSignaling::Wants(std::span<const uint8_t> datagram) const {
  // The Nucleus sends to connection ids of ours from its first datagram on.
  if (IsLongQuic(datagram[0]) && !HasQuicCidOf(datagram, options_.cid_key)) return true;
  return host_->Owns(datagram);
}

void PeerSignaling::OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from,
                               Instant now) {
  now_ = now;
  host_->OnDatagram(datagram, {.remote = from, .local = {}}, now);
}

// The peer's client sends to where we were, and takes nothing from elsewhere (RFC 9000 section 9).
// As a client ourselves we are followed.
void PeerSignaling::OnNetworkChange() {
  for (auto& [id, link] : links_) link.stale |= link.accepted;
}

void PeerSignaling::Drop(const NodeId& peer, Instant now) {
  now_ = now;
  pending_.erase(peer);
  std::vector<ConnectionId> links;
  for (const auto& [id, link] : links_) {
    if (link.peer == peer) links.push_back(id);
  }
  for (const ConnectionId id : links) Close(id, kCloseViolation, "revoked");
}

void PeerSignaling::Shutdown(Instant now) {
  now_ = now;
  pending_.clear();
  fresh_.clear();
  links_.clear();
  host_->CloseAll(kCloseGoingAway, "the node ends", now);
}

// -------------------------------------------------------------------------------- what is to be
// said

void PeerSignaling::Exchange(const NodeId& peer, const Wish& wish) {
  const auto found = pending_.find(peer);
  if (found == pending_.end() && pending_.size() >= kMaxPending) return;
  Pending& pending = pending_[peer];
  // The newest place is the likeliest; of two wishes the sooner one holds.
  const bool is_sooner = !pending.wish.at.is_set() || wish.due < pending.wish.due;
  pending.wish.at = wish.at;
  if (is_sooner) pending.wish.due = wish.due;
  const bool unconditional = found != pending_.end() && pending.wish.sequence == 0;
  pending.wish.sequence =
      unconditional || wish.sequence == 0 ? 0 : std::max(pending.wish.sequence, wish.sequence);
  if (!look_ || wish.due < *look_) look_ = wish.due;
}

void PeerSignaling::Call(const NodeId& node, const NodeId& through, Instant now) {
  now_ = now;
  pb::PeerMessage ask;
  ask.mutable_ask()->set_node_id(node.ToBytes());
  ask.mutable_ask()->set_sequence(options_.find(node).sequence);
  SayTo(through, std::move(ask));
  pb::PeerMessage call;
  call.mutable_call()->set_node_id(node.ToBytes());
  SayTo(through, std::move(call));
}

// Over the connection that there is, or one to where the peer's session is.
void PeerSignaling::SayTo(const NodeId& peer, pb::PeerMessage message) {
  if (const auto id = LinkTo(peer); id && links_.at(*id).member) return Send(*id, message);
  const Endpoint at = options_.reach(peer);
  if (!at.is_set()) return;
  Exchange(peer, {.at = at, .due = now_});
  const auto found = pending_.find(peer);
  if (found != pending_.end() && found->second.say.size() < kMaxSay) {
    found->second.say.push_back(std::move(message));
  }
}

// The newest connection to the peer: where it was seen last.
std::optional<ConnectionId> PeerSignaling::LinkTo(const NodeId& peer) const {
  std::optional<ConnectionId> newest;
  for (const auto& [id, link] : links_) {
    const bool doubtful = link.unheard_since && now_ - *link.unheard_since > kDoubt;
    if (link.peer == peer && !link.stale && !doubtful) newest = id;
  }
  return newest;
}

// The connection may have ended when this returns.
void PeerSignaling::Send(ConnectionId id, const pb::PeerMessage& message) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  Link& link = found->second;
  link.used = now_;
  if (!link.unheard_since) link.unheard_since = now_;
  if (!look_ || now_ + kLook < *look_) look_ = now_ + kLook;
  // Where too much waits already it is lost: it will be asked for again.
  (void)host_->Send(id, message.SerializeAsString(), now_);
}

void PeerSignaling::SendRecord(ConnectionId id, const Options::Known& record) {
  pb::PeerMessage message;
  *message.mutable_records()->add_records() = *record.message;
  Send(id, message);
}

void PeerSignaling::SendAsk(ConnectionId id, const NodeId& node) {
  pb::PeerMessage message;
  message.mutable_ask()->set_node_id(node.ToBytes());
  message.mutable_ask()->set_sequence(options_.find(node).sequence);
  Send(id, message);
}

// Begins what is due, as far as there is room.
void PeerSignaling::BeginDue() {
  if (options_.own().message == nullptr) return;  // nothing to say yet
  size_t beginning = 0;
  for (const auto& [id, link] : links_) beginning += link.connected || link.accepted ? 0 : 1;
  std::vector<NodeId> due;
  for (const auto& [peer, pending] : pending_) {
    if (pending.wish.due <= now_) due.push_back(peer);
  }
  for (const NodeId& peer : due) {
    const Pending& pending = pending_.at(peer);
    if (pending.wish.sequence > 0 && pending.say.empty() &&
        options_.find(peer).sequence >= pending.wish.sequence) {
      pending_.erase(peer);
      continue;
    }
    if (const auto id = LinkTo(peer)) {
      if (!links_.at(*id).member) continue;  // it will be, soon
      SendRecord(*id, options_.own());
      SendAsk(*id, peer);
      SayPending(peer);
      continue;
    }
    Manners& manners = MannersOf(peer);
    if (manners.connect_from > now_ || beginning >= kMaxBeginning || !MakeRoomForLink()) continue;
    const ClusterKeys& secret = SecretFor(peer, manners);
    const auto begun = host_->Connect(pending.wish.at, peer, now_, KnockKeyOf(secret.psk, peer));
    if (!begun.ok()) {
      pending_.erase(peer);
      continue;
    }
    ++beginning;
    manners.pause = std::clamp(manners.pause * 2, kFirstPause, kLongestPause);
    manners.connect_from = now_ + manners.pause;
    links_.emplace(*begun,
                   Link{.peer = peer, .cluster = secret.key.id(), .began = now_, .used = now_});
  }
}

void PeerSignaling::SayPending(const NodeId& peer) {
  const auto pending = pending_.extract(peer);
  if (pending.empty()) return;
  for (pb::PeerMessage& message : pending.mapped().say) SayTo(peer, std::move(message));
}

// Whether there is room for one more, after the one that nobody has used for the longest time has
// gone, where it has to.
bool PeerSignaling::MakeRoomForLink() {
  if (links_.size() < kMaxLinks) return true;
  const auto oldest = std::ranges::min_element(links_, {}, [](const auto& entry) {
    return std::pair(entry.second.member, entry.second.used);  // strangers first
  });
  if (now_ - oldest->second.used < kLook) return false;
  Close(oldest->first, kCloseGoingAway, "others have something to say");
  return true;
}

void PeerSignaling::Close(ConnectionId id, uint64_t code, std::string_view why) {
  links_.erase(id);
  host_->Close(id, code, why, now_);
}

// -------------------------------------------------------------------------------------------- time

void PeerSignaling::OnTimer(Instant now) {
  now_ = now;
  host_->OnTimer(now);
  if (!look_ || *look_ > now) return;
  look_.reset();
  LookAtLinks();
  TellFresh();
  BeginDue();
  if (!links_.empty()) look_ = now + kLook;
  for (const auto& [peer, pending] : pending_) {
    const auto manners = manners_.find(peer);
    const Instant from = manners == manners_.end() ? now : manners->second.connect_from;
    const Instant at = std::max({pending.wish.due, from, now + kLook});
    if (!look_ || at < *look_) look_ = at;
  }
}

void PeerSignaling::LookAtLinks() {
  std::vector<ConnectionId> idle;
  std::vector<ConnectionId> silent;
  std::vector<ConnectionId> dead;
  for (auto& [id, link] : links_) {
    if (!link.connected) {
      // The host ends it by itself; unless it could not so much as begin.
      if (now_ - link.began > kBeginWithin) idle.push_back(id);
      continue;
    }
    if (host_->unacknowledged(id) == 0) link.unheard_since.reset();
    if (!link.member) {
      if (now_ - link.began > kHelloWithin) silent.push_back(id);
    } else if (link.unheard_since && now_ - *link.unheard_since > kUnheard) {
      dead.push_back(id);
    } else if (now_ - link.used > kIdle) {
      idle.push_back(id);
    }
  }
  for (const ConnectionId id : idle) Close(id, kCloseGoingAway, "nothing more to say");
  for (const ConnectionId id : silent) Close(id, kCloseViolation, "no hello");
  for (const ConnectionId id : dead) {
    const NodeId peer = links_.at(id).peer;
    Close(id, kCloseGoingAway, "not heard");
    // What was said was our record: once more, to where the peer is now.
    if (const Endpoint at = options_.reach(peer); at.is_set()) {
      Exchange(peer, {.at = at, .due = now_});
    }
  }
}

std::optional<Instant> PeerSignaling::NextDeadline() const {
  auto next = host_->NextDeadline();
  if (look_ && (!next || *look_ < *next)) next = look_;
  return next;
}

// --------------------------------------------------------------------------------------
// connections

void PeerSignaling::OnConnected(ConnectionId id, const quic::PublicKey& key) {
  const NodeId peer = IdOfKey(key);
  auto found = links_.find(id);
  if (found == links_.end()) {
    size_t others = 0;
    for (const auto& [number, link] : links_) others += link.peer == peer ? 1 : 0;
    if (others >= kMaxOfOnePeer) {
      // The eldest: the peer may have forgotten it.
      const auto eldest =
          std::ranges::find_if(links_, [&](const auto& e) { return e.second.peer == peer; });
      Close(eldest->first, kCloseGoingAway, "there is a newer one");
    }
    if (peer == options_.identity->node_id() || !MakeRoomForLink()) {
      return host_->Close(id, kCloseGoingAway, "no room", now_);
    }
    found = links_
                .emplace(id, Link{.peer = peer,
                                  .cluster = KnockedWith(id),
                                  .accepted = true,
                                  .began = now_,
                                  .used = now_})
                .first;
  }
  Link& link = found->second;
  link.connected = true;
  const auto exported = host_->Export(id, kMeshExporterLabel);
  const Options::Known own = options_.own();
  if (!exported.ok() || own.message == nullptr) return Close(id, kCloseGoingAway, "no record yet");
  pb::PeerMessage message;
  message.mutable_hello()->set_proof(
      MembershipProof(SecretOf(link.cluster), *exported, options_.identity->node_id()));
  *message.mutable_hello()->mutable_record() = *own.message;
  Send(id, message);
}

void PeerSignaling::OnMoved(ConnectionId id, const Endpoint&) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  ++found->second.moves;
  ++moves_;
}

void PeerSignaling::OnClosed(ConnectionId id, const quic::Closed& closed) {
  const auto link = links_.extract(id);
  if (link.empty()) return;
  const NodeId& peer = link.mapped().peer;
  spdlog::debug("mesh: connection with {} is over: {}", peer.ToString(), closed.text);
  if (link.mapped().connected || link.mapped().accepted) return;
  // Not reached: a beacon, or the next need, begins anew.
  ++MannersOf(peer).failures;
  pending_.erase(peer);
}

void PeerSignaling::OnMessage(ConnectionId id, std::string_view message) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  Link& link = found->second;
  if (!TakeToken(MannersOf(link.peer).messages, kMessageBurst, kMessagesPerSecond)) {
    ++refused_;
    return;
  }
  pb::PeerMessage parsed;
  const bool is_message = parsed.ParseFromArray(message.data(), static_cast<int>(message.size()));
  if (!is_message || (parsed.has_hello() == link.member)) {
    ++refused_;
    return Close(id, kCloseViolation, "no message, or out of order");
  }
  const NodeId peer = link.peer;  // which what follows may end
  link.used = now_;
  switch (parsed.message_case()) {
    case pb::PeerMessage::kHello:
      return OnHello(id, peer, parsed.hello());
    case pb::PeerMessage::kRecords:
      if (parsed.records().records_size() > kMaxPeerRecords) {
        ++refused_;
        return;
      }
      for (const auto& record : parsed.records().records()) TakeRecord(id, peer, record);
      return;
    case pb::PeerMessage::kAsk:
      return OnAsk(id, parsed.ask());
    case pb::PeerMessage::kCall:
      return OnCall(peer, parsed.call());
    case pb::PeerMessage::kCalled:
      return OnCalled(peer, parsed.called());
    case pb::PeerMessage::kSendHandshake:
    case pb::PeerMessage::kHandshake:
    case pb::PeerMessage::kOpenRelay:
    case pb::PeerMessage::kRelayClosed:
      return OnRelaying(id, peer, parsed);
    case pb::PeerMessage::kCompare:
      return OnCompare(id, peer, parsed.compare());
    case pb::PeerMessage::kRevocations:
      return OnRevocations(peer, parsed.revocations());
    case pb::PeerMessage::MESSAGE_NOT_SET:
      return;  // one that a newer node knows
  }
}

// ------------------------------------------------------------------------------------------
// messages

void PeerSignaling::OnHello(ConnectionId id, const NodeId& from, const pb::PeerHello& hello) {
  const auto exported = host_->Export(id, kMeshExporterLabel);
  const auto keys = options_.cluster->keys();
  const bool is_member = exported.ok() && std::ranges::any_of(keys, [&](const ClusterKey& key) {
                           return IsMembershipProof(hello.proof(), key, *exported, from);
                         });
  if (!is_member || options_.is_revoked(from)) {
    ++refused_;
    return Close(id, kCloseViolation, "no member");
  }
  links_.at(id).member = true;
  MannersOf(from).pause = {};
  if (!links_.at(id).accepted) SendCompare(id, /*is_answer=*/false);
  TakeRecord(id, from, hello.record());
  SayPending(from);
}

void PeerSignaling::TakeRecord(ConnectionId id, const NodeId& from,
                               const pb::SignedRecord& record) {
  const uint64_t own_before = options_.own().sequence;
  const uint64_t before = options_.find(from).sequence;
  options_.take(record);
  // Ours, and newer than what we have shown it: now there is one that is newer still.
  const Options::Known own = options_.own();
  if (own.message != nullptr && own.sequence != own_before) return SendRecord(id, own);
  const Options::Known known = options_.find(from);
  if (known.message == nullptr || known.sequence != before) return;
  // The one who shows an old record of its own gets the newer one.
  const auto shown = Verify(record, options_.cluster->ids());
  if (!shown.ok() || shown->id() != from || shown->sequence >= known.sequence) return;
  SendRecord(id, known);
}

void PeerSignaling::OnAsk(ConnectionId id, const pb::PeerAsk& ask) {
  const auto node = NodeId::FromBytes(ask.node_id());
  if (!node) return;
  const bool is_own = *node == options_.identity->node_id();
  const Options::Known known = is_own ? options_.own() : options_.find(*node);
  if (known.message != nullptr && known.sequence > ask.sequence()) SendRecord(id, known);
}

void PeerSignaling::OnCall(const NodeId& from, const pb::PeerCall& call) {
  const auto node = NodeId::FromBytes(call.node_id());
  const Options::Known caller = options_.find(from);
  if (!node || *node == from || caller.message == nullptr) return;
  if (!options_.reach(*node).is_set()) return;
  if (!TakeToken(forwarded_, kForwardBurst, kForwardsPerSecond)) {
    ++refused_;
    return;
  }
  pb::PeerMessage message;
  *message.mutable_called()->mutable_record() = *caller.message;
  SayTo(*node, std::move(message));
}

void PeerSignaling::OnCalled(const NodeId& from, const pb::PeerCalled& called) {
  const auto record = Verify(called.record(), options_.cluster->ids());
  if (!record.ok() || record->id() == from) {
    ++refused_;
    return;
  }
  options_.take(called.record());
  options_.called(record->id());
}

PeerSignalingView PeerSignaling::view(Instant now) const {
  PeerSignalingView view{.connections = {},
                         .handshakes = host_->counters().handshakes,
                         .failures = host_->counters().failures,
                         .moves = moves_,
                         .unknown = host_->counters().unknown,
                         .replayed = host_->counters().replayed,
                         .refused = refused_};
  for (const auto& [id, link] : links_) {
    if (!link.member) continue;
    view.connections.push_back({.id = host_->original_cid(id),
                                .peer = link.peer,
                                .at = host_->remote(id),
                                .accepted = link.accepted,
                                .moves = link.moves,
                                .age = now - link.began});
  }
  return view;
}

}  // namespace omni
