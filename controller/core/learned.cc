// SPDX-License-Identifier: Apache-2.0
// Peers that a Nucleus told of. What stands in the configuration or came by the API is above all of
// them; among them, who had an address first keeps it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/status.h"
#include "controller/core/controller.h"
#include "controller/core/convert.h"

namespace omni {
namespace {

bool IsWithin(const IpPrefix& inner, const IpPrefix& outer) {
  return inner.length >= outer.length && outer.Contains(inner.address);
}

IpPrefix HostPrefix(const IpAddress& address) {
  return {address, static_cast<uint8_t>(address.bits())};
}

}  // namespace

void Controller::OnRecord(const NodeRecord& record) {
  if (revocations_.Find(record.id()) != nullptr) return;
  learned_.insert_or_assign(record.id(), Learned{.record = record, .problems = {}});
  Reconcile(record.id());
  NoteWilling(record.id());
  OnRelayPeer(record.id());  // where it says that it is
  // It may have come to where it is reached directly.
  const Peer* peer = peers_.Find(record.id());
  if (peer != nullptr && IsRelayed(*peer) && !peer->sessions.empty()) InitiateSoon(record.id());
  ReconcileTroubled();
  Push();
}

// A Nucleus that hides a peer, or forgot it, must not cut what works without it.
void Controller::OnUnlisted(const NodeId& id) {
  const auto found = learned_.find(id);
  if (found == learned_.end()) return;
  found->second.unlisted = true;
  DropUnlisted();
}

void Controller::DropUnlisted() {
  std::vector<NodeId> gone;
  for (const auto& [id, learned] : learned_) {
    const Peer* peer = peers_.Find(id);
    const bool lives = peer != nullptr && !peer->sessions.empty();
    if (learned.unlisted && !lives) gone.push_back(id);
  }
  for (const NodeId& id : gone) {
    learned_.erase(id);
    Reconcile(id);
    NoteWilling(id);
  }
  if (gone.empty()) return;
  ReconcileTroubled();
  Push();
}

// One who lets go of an address may make room for another.
void Controller::ReconcileTroubled() {
  for (const NodeId& id : std::set<NodeId>(troubled_)) Reconcile(id);
}

void Controller::ReconcileAll() {
  for (const auto& [id, learned] : learned_) Reconcile(id);
}

void Controller::Reconcile(const NodeId& id) {
  ApplyRecord(id);
  const auto learned = learned_.find(id);
  if (learned != learned_.end() && !learned->second.problems.empty()) {
    troubled_.insert(id);
  } else {
    troubled_.erase(id);
  }
}

// Makes the peer table say of one node what its record allows.
void Controller::ApplyRecord(const NodeId& id) {
  const auto found = learned_.find(id);
  Peer* peer = peers_.Find(id);
  if (peer != nullptr && peer->origin != PeerOrigin::kNucleus) {
    // Not ours to change; but where it may be is good to know.
    if (found != learned_.end()) {
      TellEngine(found->second.record);
      found->second.problems.clear();
    } else {
      handshakes_.SetRelay(id, {});
    }
    return;
  }
  if (found == learned_.end()) {
    if (peer != nullptr) DropPeer(*peer);
    return;
  }
  Learned& learned = found->second;
  PeerSpec spec = SpecOf(learned, peer);
  if (spec.allowed.empty()) {
    if (peer != nullptr) DropPeer(*peer);
    return;
  }
  if (const absl::Status free = peers_.CheckFree(spec, peer); !free.ok()) {
    learned.problems.emplace_back(Message(free));
    if (peer != nullptr) DropPeer(*peer);
    return;
  }
  if (peer == nullptr) {
    TakePeer(std::move(spec), PeerOrigin::kNucleus);
  } else if (!(peer->spec == spec)) {
    PeerSpec before = peer->spec.Clone();
    if (before.key.static_public() != spec.key.static_public()) {
      EndSessions(*peer);
      handshakes_.engine().RemovePeer(id);
    }
    std::vector<std::pair<Peer*, PeerSpec>> change;
    change.emplace_back(peer, std::move(spec));
    peers_.Replace(std::move(change));
    AfterChange(*peer, before);
  }
  TellEngine(learned.record);
}

// Where the peer may be.
void Controller::TellEngine(const NodeRecord& record) {
  const NodeId id = record.id();
  SetCandidates(id, CandidatesOf(record));
  handshakes_.SetRelay(id, RelayFor(id));
  TellSecretsOf(record);
}

// What of a record can be used here; the rest becomes its problems.
PeerSpec Controller::SpecOf(Learned& learned, const Peer* peer) const {
  const NodeRecord& record = learned.record;
  learned.problems.clear();
  PeerSpec spec{.name = record.name,
                .key = record.key,
                .endpoint = {},
                .allowed = {},
                .psk = std::nullopt,
                .keepalive_s = 0};
  const Peer* namesake = peers_.Find(record.name);
  if (namesake != nullptr && namesake != peer) {
    // LIMIT: a name has at most 63 characters.
    spec.name =
        fmt::format("{}-{}", record.name.substr(0, 54), record.id().ToString().substr(0, 8));
  }
  const auto take = [&](const IpPrefix& prefix) {
    const Peer* holder = peers_.HolderOf(prefix);
    if (holder != nullptr && holder != peer) {
      learned.problems.push_back(
          fmt::format("{} belongs to the peer \"{}\"", prefix.ToString(), holder->spec.name));
    } else if (const std::string cause = CheckAllowed(prefix, config_.addresses); !cause.empty()) {
      learned.problems.push_back(cause);
    } else if (std::ranges::find(spec.allowed, prefix) == spec.allowed.end()) {
      spec.allowed.push_back(prefix);
    }
  };
  for (const IpAddress& address : record.addresses) {
    if (IsInOwnNetwork(address)) {
      take(HostPrefix(address));
    } else {
      learned.problems.push_back(
          fmt::format("{} lies in no network of this node", address.ToString()));
    }
  }
  for (const IpPrefix& route : record.routes) {
    const bool accepted = std::ranges::any_of(config_.nucleus.accept_routes,
                                              [&](const auto& p) { return IsWithin(route, p); });
    if (accepted) {
      take(route);
    } else {
      learned.problems.push_back(
          fmt::format("route {} is not accepted here (nucleus.accept_routes)", route.ToString()));
    }
  }
  return spec;
}

bool Controller::IsInOwnNetwork(const IpAddress& address) const {
  return std::ranges::any_of(config_.addresses, [&](const InterfaceAddress& own) {
    return own.address.family == address.family &&
           MaskTo(address, own.length) == MaskTo(own.address, own.length);
  });
}

// What is seen of the node on our own links first; then what it says.
std::vector<Endpoint> Controller::CandidatesOf(const NodeRecord& record) const {
  std::vector<Endpoint> candidates;
  if (discovery_) {
    for (const Endpoint& place : discovery_->PlacesOf(record.id())) {
      if (!IsInOwnNetwork(place.address)) candidates.push_back(place);
    }
  }
  for (const Candidate& candidate : record.candidates) {
    // A tunnel does not go through itself.
    const Endpoint& at = candidate.endpoint;
    const bool is_known = std::ranges::find(candidates, at) != candidates.end();
    if (!is_known && !IsInOwnNetwork(at.address)) candidates.push_back(at);
  }
  return candidates;
}

void Controller::OnRelocated(const NodeId& id) {
  const auto found = learned_.find(id);
  if (found != learned_.end() && peers_.Find(id) != nullptr) TellEngine(found->second.record);
}

void Controller::SetCandidates(const NodeId& id, const std::vector<Endpoint>& candidates) {
  handshakes_.SetCandidates(id, candidates);
  paths_.SetCandidates(id, candidates);
  const Peer* peer = peers_.Find(id);
  if (peer == nullptr || !peer->has_confirmed_session()) return;
  paths_.SetPresent(id, peer->endpoint);
  paths_.OnSession(id);
}

// Peers that a Nucleus told of and that are in the way of one that somebody configured.
void Controller::YieldTo(const PeerSpec& spec) {
  std::vector<Peer*> in_the_way;
  for (const auto& entry : peers_) {
    Peer* const peer = entry.second.get();
    if (peer->origin != PeerOrigin::kNucleus) continue;
    const bool shares = std::ranges::any_of(spec.allowed, [&](const IpPrefix& prefix) {
      return std::ranges::find(peer->spec.allowed, prefix) != peer->spec.allowed.end();
    });
    if (shares || peer->spec.name == spec.name || peer->id() == spec.key.node_id() ||
        peer->spec.key.static_public() == spec.key.static_public()) {
      in_the_way.push_back(peer);
    }
  }
  for (Peer* peer : in_the_way) DropPeer(*peer);
}

}  // namespace omni
