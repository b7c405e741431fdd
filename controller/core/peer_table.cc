// SPDX-License-Identifier: Apache-2.0
#include "controller/core/peer_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/status.h"

namespace omni {

bool Peer::has_confirmed_session() const {
  return std::ranges::any_of(sessions, &LiveSession::confirmed);
}

Peer* PeerTable::Find(const NodeId& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

Peer* PeerTable::Find(std::string_view text) const {
  if (const auto found = peers_.find(std::string(text)); found != peers_.end()) {
    return found->second.get();
  }
  const auto id = NodeId::Parse(text);
  return id ? Find(*id) : nullptr;
}

Peer* PeerTable::HolderOf(const IpPrefix& prefix) const {
  const auto found = by_prefix_.find(prefix);
  return found == by_prefix_.end() ? nullptr : found->second;
}

absl::Status PeerTable::CheckFree(const PeerSpec& spec, const Peer* except) const {
  if (const auto name = peers_.find(spec.name);
      name != peers_.end() && name->second.get() != except) {
    return absl::AlreadyExistsError(
        fmt::format("name: \"{}\" belongs to peer {}", spec.name, name->second->id().ToString()));
  }
  if (const Peer* holder = Find(spec.key.node_id()); holder != nullptr && holder != except) {
    return absl::AlreadyExistsError(
        fmt::format("key: belongs to the peer \"{}\"", holder->spec.name));
  }
  // An identity can sign a static key that is not its own.
  if (const auto holder = by_static_key_.find(spec.key.static_public());
      holder != by_static_key_.end() && holder->second != except) {
    return absl::AlreadyExistsError(
        fmt::format("key: its static key belongs to the peer \"{}\"", holder->second->spec.name));
  }
  for (const IpPrefix& prefix : spec.allowed) {
    const auto holder = by_prefix_.find(prefix);
    if (holder != by_prefix_.end() && holder->second != except) {
      return absl::AlreadyExistsError(fmt::format("allowed: {} belongs to the peer \"{}\"",
                                                  prefix.ToString(), holder->second->spec.name));
    }
  }
  return absl::OkStatus();
}

Peer& PeerTable::Add(PeerSpec spec, PeerOrigin origin) {
  OMNI_CHECK(CheckFree(spec).ok());
  auto peer = std::make_unique<Peer>(Peer{.spec = std::move(spec), .origin = origin});
  peer->endpoint = peer->spec.endpoint;
  Peer& added = *peer;
  Index(std::move(peer));
  return added;
}

void PeerTable::Remove(const NodeId& id) {
  if (const Peer* peer = Find(id)) Unindex(*peer);
}

void PeerTable::Replace(std::vector<std::pair<Peer*, PeerSpec>> changes) {
  std::vector<std::unique_ptr<Peer>> taken;
  taken.reserve(changes.size());
  for (const auto& [peer, spec] : changes) taken.push_back(Unindex(*peer));
  for (size_t i = 0; i < changes.size(); ++i) {
    OMNI_CHECK(taken[i]->id() == changes[i].second.key.node_id());
    taken[i]->spec = std::move(changes[i].second);
    Index(std::move(taken[i]));
  }
}

void PeerTable::Index(std::unique_ptr<Peer> peer) {
  Peer* raw = peer.get();
  raw->spec_number = ++specs_;
  OMNI_CHECK(by_id_.emplace(raw->id(), raw).second);
  for (const IpPrefix& prefix : raw->spec.allowed) by_prefix_.emplace(prefix, raw);
  by_static_key_.emplace(raw->spec.key.static_public(), raw);
  OMNI_CHECK(peers_.emplace(raw->spec.name, std::move(peer)).second);
}

std::unique_ptr<Peer> PeerTable::Unindex(const Peer& peer) {
  by_id_.erase(peer.id());
  for (const IpPrefix& prefix : peer.spec.allowed) by_prefix_.erase(prefix);
  by_static_key_.erase(peer.spec.key.static_public());
  auto node = peers_.extract(peer.spec.name);
  OMNI_CHECK(!node.empty());
  return std::move(node.mapped());
}

}  // namespace omni
