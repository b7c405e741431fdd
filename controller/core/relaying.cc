// SPDX-License-Identifier: Apache-2.0
// The Nucleus as a relay between two nodes that do not reach each other: handshake messages go
// through its connection, session data to its address. To everything else a relayed peer is one
// whose endpoint is the Nucleus'; or that of a peer that relays (peer_relaying.cc).
#include <sodium.h>

#include <algorithm>
#include <vector>

#include "common/log.h"
#include "common/relay/relay.h"
#include "controller/core/controller.h"
#include "controller/nat/private_address.h"
#include "signal/stun/mapping.h"

namespace omni {

void Controller::OnRelay(const Endpoint& relay) {
  const Endpoint former = relay_;
  relay_is_up_ = relay.is_set();
  if (relay.is_set()) relay_ = relay;
  UpdateRelayPoints();  // none of them stands where the Nucleus does
  TellRelays();
  // When it is gone, it may come back: until then relayed peers are still shown as such.
  if (relay.is_set()) return CallRelayed(former);
  CallStranded();
  KeepRelaysSoon();
}

// What a former connection had opened is closed: each relayed peer needs a session that is known
// to this one.
void Controller::CallRelayed(const Endpoint& former) {
  for (const auto& [name, peer] : peers_) {
    const bool was_relayed =
        peer->endpoint.is_set() && (peer->endpoint == relay_ || peer->endpoint == former);
    if (was_relayed && !peer->sessions.empty()) InitiateSoon(peer->id());
  }
}

// Before anything of the session can arrive: who relays must know whose channels these are.
void Controller::OnEstablished(const noise::EstablishedSession& session) {
  const bool by_nucleus = relay_.is_set() && session.endpoint == relay_;
  const RelayPoint* point = by_nucleus ? nullptr : RelayAt(session.peer, session.endpoint);
  if (!by_nucleus && point == nullptr) return;
  std::vector<uint64_t> channels;
  for (const noise::SessionChannel& channel : session.receive) channels.push_back(channel.id);
  if (session.control_receive) channels.push_back(session.control_receive->id);
  OpenByRelay(session.peer, point, channels, kMaxOpenSeconds);
}

void Controller::OnRelayedHandshake(const NodeId& from, std::span<const uint8_t> datagram) {
  handshakes_.OnRelayed(datagram, relay_, from);
}

// Where a session in use reaches the peer without a relay; unset: there is none.
Endpoint Controller::DirectEndpointOf(const Peer& peer) const {
  return peer.has_confirmed_session() && !IsRelayed(peer) ? peer.endpoint : Endpoint();
}

std::vector<std::pair<NodeId, Endpoint>> Controller::DirectSessions() const {
  std::vector<std::pair<NodeId, Endpoint>> sessions;
  for (const auto& [name, peer] : peers_) {
    if (const Endpoint at = DirectEndpointOf(*peer); at.is_set()) {
      sessions.emplace_back(peer->id(), at);
    }
  }
  return sessions;
}

// ------------------------------------------------------------------------------------ port search

// Relayed peers behind hard NATs, where servers see us at a port that others can send to: what
// keeps them from us is that our own NAT does not know from which port of theirs they come.
std::vector<PortSearches::Target> Controller::SearchTargets() const {
  std::vector<PortSearches::Target> targets;
  const NetworkView network = this->network();
  const bool is_easy = network.v4 && network.v4->mapped && stun::IsPredictable(network.v4->mapping);
  if (!is_easy || !sync_.ready()) return targets;
  for (const auto& [name, peer] : peers_) {
    const auto learned = learned_.find(peer->id());
    if (!IsRelayed(*peer) || !peer->has_confirmed_session() || learned == learned_.end()) continue;
    const NodeRecord& record = learned->second.record;
    if (std::ranges::find(record.capabilities, kHardNat) == record.capabilities.end()) continue;
    PortSearches::Target target{.peer = peer->id(), .address = {}, .seen = {}};
    for (const Candidate& candidate : record.candidates) {
      const Endpoint& at = candidate.endpoint;
      const bool is_seen = candidate.kind == CandidateKind::kServerReflexive &&
                           at.address.is_v4() && !IsPrivate(at.address) &&
                           at.address != network.v4->mapped->address;
      if (!is_seen || (!target.seen.empty() && at.address != target.address)) continue;
      target.address = at.address;
      target.seen.push_back(at.port);
    }
    if (!target.seen.empty()) targets.push_back(std::move(target));
  }
  return targets;
}

void Controller::StartSearches() {
  searches_ = std::make_unique<PortSearches>(
      loop_, dataplane_,
      PortSearches::Options{
          .clock = clock_,
          .new_token = [this] { return next_echo_++; },
          .random = [] { return randombytes_random(); },
          .targets = [this] { return SearchTargets(); },
          .found = [this](const NodeId& id, const Endpoint& at) { paths_.Take(id, at); }});
  searches_->Start();
}

}  // namespace omni
