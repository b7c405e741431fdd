// SPDX-License-Identifier: Apache-2.0
// Relays among the peers: which of them this node reaches, and what goes through one; and this node
// as a relay between two others. A relayed peer is one whose endpoint is that of the node that
// relays; docs/SIGNALING.md section 12.
#include <algorithm>
#include <chrono>
#include <utility>

#include "common/encoding.h"
#include "common/log.h"
#include "common/relay/relay.h"
#include "common/status.h"
#include "controller/core/controller.h"

namespace omni {

namespace dp = dataplane::v1;

namespace {

// LIMIT: relays that are known to be in reach; those with the smallest ids, so that two nodes that
// reach many have some in common.
constexpr size_t kMaxRelayPoints = 16;
// LIMIT: of these, those that a handshake goes through at once.
constexpr size_t kRelaysAsked = 3;
// LIMIT: sessions that are kept for nothing but being reached, while no Nucleus relays.
constexpr size_t kRelaysKept = 2;
// LIMIT: under 30 s, for which NATs keep a mapping, with room for a loss; also how soon a relay
// that restarted without a word is missed.
constexpr std::chrono::seconds kKeepInterval{5};
// LIMIT: a node has registered by then where there is a Nucleus.
constexpr Duration kNucleusComes = 5s;
// LIMIT: an echo that is not answered by then is lost.
constexpr Duration kLost = 1s;
// LIMIT: more than a handshake takes; what comes of it opens its channels for longer.
constexpr uint32_t kOfferSeconds = 20;
// LIMIT: handshake messages of one node that wait for its channels to be open.
constexpr size_t kMaxDeferred = 64;

}  // namespace

// -------------------------------------------------------------------------------------------------
// relays in reach

// Whether the node itself says that it is there, or somebody who configured it.
bool Controller::Claims(const Peer& peer, const Endpoint& at) const {
  if (peer.spec.endpoint == at) return true;
  const auto learned = learned_.find(peer.id());
  if (learned == learned_.end()) return false;
  const std::vector<Endpoint> candidates = CandidatesOf(learned->second.record);
  return std::ranges::find(candidates, at) != candidates.end();
}

// At one endpoint there is one node; those who seem to be there as well are relayed by it.
bool Controller::CanRelay(const Peer& peer) const {
  return peer.has_confirmed_session() && peer.endpoint.is_set() &&
         (!relay_.is_set() || peer.endpoint != relay_) && Claims(peer, peer.endpoint);
}

const Controller::RelayPoint* Controller::RelayAt(const NodeId& peer, const Endpoint& at) const {
  const auto found = std::ranges::find_if(
      relay_points_, [&](const RelayPoint& point) { return point.at == at && point.via != peer; });
  if (found == relay_points_.end()) return nullptr;
  const Peer* known = peers_.Find(peer);
  return known != nullptr && Claims(*known, at) ? nullptr : &*found;
}

const Peer* Controller::RelayOf(const Peer& peer) const {
  const RelayPoint* point = RelayAt(peer.id(), peer.endpoint);
  return point == nullptr ? nullptr : peers_.Find(point->via);
}

bool Controller::IsRelayPath(const NodeId& peer, const Endpoint& at) const {
  return (relay_.is_set() && at == relay_) || RelayAt(peer, at) != nullptr;
}

// Where handshakes with the peer go besides its own addresses; unset: nothing relays. The one that
// relays it now, if any: for what goes there Divert() asks the others as well.
Endpoint Controller::RelayFor(const NodeId& id) const {
  const Peer* peer = peers_.Find(id);
  const RelayPoint* present = peer == nullptr ? nullptr : RelayAt(id, peer->endpoint);
  if (present != nullptr && present->is_up) return present->at;
  if (relay_is_up_) return relay_;
  const auto first = std::ranges::find_if(
      relay_points_, [&](const RelayPoint& point) { return point.is_up && point.via != id; });
  return first == relay_points_.end() ? Endpoint() : first->at;
}

void Controller::NoteWilling(const NodeId& id) {
  const auto learned = learned_.find(id);
  const bool is_willing = learned != learned_.end() && learned->second.record.Can(kRelayCapability);
  const bool changed = is_willing ? willing_.insert(id).second : willing_.erase(id) > 0;
  if (!changed) return;
  UpdateRelayPoints();
  KeepRelaysSoon();
}

void Controller::OnRelayPeer(const NodeId& id) {
  if (willing_.contains(id)) UpdateRelayPoints();
}

void Controller::UpdateRelayPoints() {
  std::vector<RelayPoint> points;
  for (const NodeId& id : willing_) {
    const Peer* peer = peers_.Find(id);
    if (peer == nullptr || !CanRelay(*peer) || points.size() >= kMaxRelayPoints) continue;
    points.push_back({.via = id, .at = peer->endpoint, .is_up = true});
  }
  // One that has gone may come back: until then whom it relayed is still shown as such.
  for (const RelayPoint& old : relay_points_) {
    const bool has_other = std::ranges::any_of(
        points, [&](const RelayPoint& p) { return p.via == old.via || p.at == old.at; });
    const bool is_used = std::ranges::any_of(peers_, [&](const auto& entry) {
      return entry.second->id() != old.via && entry.second->endpoint == old.at;
    });
    if (!has_other && is_used) points.push_back({.via = old.via, .at = old.at, .is_up = false});
  }
  if (points == relay_points_) return;
  const std::vector<RelayPoint> former = std::exchange(relay_points_, std::move(points));
  for (const RelayPoint& old : former) MoveRelayed(old);
  TellRelays();
  for (const auto& [name, peer] : peers_) {
    // It is of another class now, perhaps.
    if (peer->has_confirmed_session()) paths_.SetPresent(peer->id(), peer->endpoint);
  }
  CallStranded();
}

// The relay is elsewhere now, and so are those that it relays.
void Controller::MoveRelayed(const RelayPoint& former) {
  const auto now = std::ranges::find_if(relay_points_, [&](const RelayPoint& point) {
    return point.via == former.via && point.is_up && point.at != former.at;
  });
  if (now == relay_points_.end()) return;
  for (const auto& [name, peer] : peers_) {
    const bool is_relayed = peer->endpoint == former.at && peer->id() != former.via;
    if (!is_relayed || Claims(*peer, former.at)) continue;
    MovePeer(*peer, now->at);
    paths_.Move(peer->id(), now->at);
  }
}

void Controller::TellRelays() {
  for (const auto& [id, learned] : learned_) {
    handshakes_.SetRelay(id, RelayFor(id));
  }
}

// Whose relay has gone, while there is another one.
void Controller::CallStranded() {
  for (const auto& [name, peer] : peers_) CallIfStranded(*peer);
}

void Controller::CallIfStranded(const Peer& peer) {
  if (peer.sessions.empty() || !RelayFor(peer.id()).is_set()) return;
  const RelayPoint* point = RelayAt(peer.id(), peer.endpoint);
  const bool by_nucleus = relay_.is_set() && peer.endpoint == relay_;
  if ((by_nucleus && !relay_is_up_) || (point != nullptr && !point->is_up)) {
    InitiateSoon(peer.id());
  }
}

void Controller::KeepRelaysSoon() {
  if (!discovery_) return;
  relay_timer_.expires_after(std::chrono::seconds(0));
  relay_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) KeepRelays();
  });
}

// While no Nucleus relays, some sessions with nodes that do are kept: who is behind a NAT is
// reached by them alone. And those that relay for us at all: they know by our packets where we are.
void Controller::KeepRelays() {
  relay_timer_.expires_after(kKeepInterval);
  relay_timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) KeepRelays();
  });
  const Instant now = clock_();
  if (!connected_ || !sync_.ready() || node_state_ == NodeState::kDown) return;
  // A Nucleus that has not been heard yet may be about to relay.
  const bool may_come = !config_.nucleus.addresses.empty() && now - started_ < kNucleusComes;
  const size_t wanted = relay_is_up_ || may_come ? 0 : kRelaysKept;
  const bool is_due = now - relays_asked_ >= kLost;
  if (is_due) relays_asked_ = now;
  size_t kept = 0;
  for (const RelayPoint& point : relay_points_) {
    Peer* peer = point.is_up ? peers_.Find(point.via) : nullptr;
    if (peer == nullptr) continue;
    const bool carries = std::ranges::any_of(
        peers_, [&](const auto& entry) { return RelayOf(*entry.second) == peer; });
    if (kept++ >= wanted && !carries) continue;
    if (is_due) AskRelay(*peer);
  }
  CallRelays(wanted > kept ? wanted - kept : 0);
}

// Whether it is there still, and knows where we are.
void Controller::AskRelay(Peer& peer) {
  if (echoes_.contains(peer.rtt_token)) {  // not answered since the last time
    doubtful_relays_.insert(peer.id());
    handshakes_.Initiate(peer.id());
  }
  MeasureRtt(peer);
}

void Controller::CallRelays(size_t wanted) {
  for (const bool unanswered : {false, true}) {  // those that did not answer, last
    for (const NodeId& id : willing_) {
      const Peer* peer = peers_.Find(id);
      if (wanted == 0 || peer == nullptr || peer->has_confirmed_session()) continue;
      if (unanswered != (peer->trouble == Trouble::kUnanswered)) continue;
      --wanted;
      handshakes_.Initiate(id);
    }
  }
}

// ------------------------------------------------------------------------------------------------
// through a relay

bool Controller::Divert(const noise::Datagram& datagram) {
  const bool to_nucleus = relay_.is_set() && datagram.to == relay_;
  if (!datagram.peer) return to_nucleus;
  const RelayPoint* point = to_nucleus ? nullptr : RelayAt(*datagram.peer, datagram.to);
  if (!to_nucleus && point == nullptr) return false;
  // An answer goes back the way that the question came. Where no answer would be taken there is no
  // point in asking: the peer would have heard the question, and refuse its copies.
  const bool is_question = datagram.tag != 0;
  if (is_question && point != nullptr && !point->is_up) return true;
  if (!is_question || datagram.to != RelayFor(*datagram.peer)) {
    SendByRelay(datagram, point);
    return true;
  }
  // Which of them reaches the peer, and which soonest, is not known: the peer takes what comes
  // first. So with each handshake the fastest relay of that moment is found anew.
  std::vector<RelayPoint> points;
  if (point != nullptr) points.push_back(*point);
  for (const RelayPoint& one : relay_points_) {
    if (one.is_up && one.via != *datagram.peer && one.at != datagram.to) points.push_back(one);
  }
  points.resize(std::min(points.size(), kRelaysAsked));
  if (to_nucleus) SendByRelay(datagram, nullptr);
  for (const RelayPoint& one : points) SendByRelay(datagram, &one);
  if (!to_nucleus && relay_is_up_) SendByRelay(datagram, nullptr);
  return true;
}

void Controller::SendByRelay(const noise::Datagram& datagram, const RelayPoint* point) {
  // The peer may use what is offered as soon as it has answered, before we have the answer.
  if (datagram.tag != 0) {
    OpenByRelay(*datagram.peer, point, noise::HandshakeEngine::ChannelsOf(datagram.tag),
                kOfferSeconds);
  }
  if (point == nullptr) return discovery_->SendHandshake(*datagram.peer, datagram.bytes);
  discovery_->SendHandshake({.via = point->via, .peer = *datagram.peer}, datagram.bytes);
}

void Controller::OpenByRelay(const NodeId& peer, const RelayPoint* point,
                             std::span<const uint64_t> channels, uint32_t seconds) {
  if (point == nullptr) return discovery_->OpenRelay(peer, channels, seconds);
  discovery_->OpenRelay({.via = point->via, .peer = peer}, channels, seconds);
}

void Controller::OnPassedHandshake(const NodeId& via, const NodeId& from,
                                   std::span<const uint8_t> datagram) {
  const auto point = std::ranges::find_if(
      relay_points_, [&](const RelayPoint& one) { return one.via == via && one.is_up; });
  if (point == relay_points_.end()) return;
  handshakes_.OnRelayed(datagram, point->at, from);
}

// What was opened there is closed.
void Controller::OnRelayClosed(const NodeId& via) {
  for (const auto& [name, peer] : peers_) {
    const RelayPoint* point = RelayAt(peer->id(), peer->endpoint);
    if (point != nullptr && point->via == via && !peer->sessions.empty()) InitiateSoon(peer->id());
  }
}

// ------------------------------------------------------------------------------------------------
// as a relay

bool Controller::MayRelay(const NodeId& from, const NodeId& to) const {
  const auto is_reached = [this](const NodeId& id) {
    const Peer* peer = peers_.Find(id);
    return peer != nullptr && !peer->revoked && DirectEndpointOf(*peer).is_set();
  };
  return config_.relay.for_peers && node_state_ == NodeState::kUp && is_reached(from) &&
         is_reached(to);
}

void Controller::OnPass(const NodeId& from, const NodeId& to, std::span<const uint8_t> datagram) {
  if (!MayRelay(from, to)) {
    ++relay_counters_.refused;
    return;
  }
  if (const auto opening = opening_.find(from); opening != opening_.end()) {
    auto& deferred = opening->second.deferred;
    if (deferred.size() < kMaxDeferred) {
      deferred.emplace_back(to, std::vector<uint8_t>(datagram.begin(), datagram.end()));
    }
    return;
  }
  Pass(from, to, datagram);
}

void Controller::Pass(const NodeId& from, const NodeId& to, std::span<const uint8_t> datagram) {
  ++relay_counters_.handshakes;
  discovery_->PassHandshake(from, to, datagram);
}

// `to` has opened its channels for `from`.
void Controller::OnOpenRelay(const NodeId& from, const NodeId& to,
                             const signal::v1::OpenRelay& message) {
  if (!MayRelay(from, to)) {
    ++relay_counters_.refused;
    return;
  }
  dp::OpenRelayRequest request;
  request.set_from(from.ToBytes());
  request.set_to(to.ToBytes());
  *request.mutable_channels() = message.channels();
  request.set_seconds(message.seconds());
  relayed_for_.insert(to);
  ++opening_[to].pending;
  dataplane_.OpenRelay(request, [this, to](const absl::StatusOr<dp::OpenRelayResponse>& opened) {
    if (!opened.ok()) {
      ++relay_counters_.refused;
      spdlog::debug("open relay: {}", Message(opened.status()));
    }
    const auto opening = opening_.find(to);
    if (--opening->second.pending > 0) return;
    const auto deferred = std::move(opening->second.deferred);
    opening_.erase(opening);
    for (const auto& [peer, datagram] : deferred) {
      if (MayRelay(to, peer)) Pass(to, peer, datagram);
    }
  });
}

// The dataplane has forgotten, or nothing is relayed any more: who had opened channels here hears
// of it, at the latest when there is a session with it again.
void Controller::LoseRelayed() {
  lost_relayed_.merge(relayed_for_);
  relayed_for_.clear();
  for (const NodeId& id : std::set<NodeId>(lost_relayed_)) TellRelayLost(id);
}

void Controller::TellRelayLost(const NodeId& id) {
  const Peer* peer = peers_.Find(id);
  if (peer != nullptr && !DirectEndpointOf(*peer).is_set()) return;
  lost_relayed_.erase(id);
  if (peer != nullptr && discovery_) discovery_->TellRelayClosed(id);
}

void Controller::OnConfirmedRelay(const NodeId& id) {
  OnRelayPeer(id);
  if (lost_relayed_.contains(id)) TellRelayLost(id);
  // It was silent before: if it has restarted, it knows nobody's channels.
  if (doubtful_relays_.erase(id) > 0) OnRelayClosed(id);
}

}  // namespace omni
