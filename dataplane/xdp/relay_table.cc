// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/relay_table.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>

namespace omni {
namespace {

bool IsSame(const std::optional<omni_steer_relay>& a, const std::optional<omni_steer_relay>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return std::memcmp(&*a, &*b, sizeof(*a)) == 0;
}

}  // namespace

void RelayTable::SetLimits(const std::optional<RelayLimits>& limits) {
  if (!limits) return;  // and all channels are closed
  const std::lock_guard lock(mutex_);
  if (*limits == limits_) return;
  limits_ = *limits;
  for (auto& [id, route] : routes_) Refresh(id, route);
}

void RelayTable::Open(const RelayWatch::Opening& opening) {
  const std::lock_guard lock(mutex_);
  const auto [found, is_new] = routes_.try_emplace(opening.id);
  Route& route = found->second;
  // Without a window the channel is user space's alone.
  if (is_new && !maps_.AddRelayWindow(opening.id)) {
    routes_.erase(found);
    return;
  }
  route.opening = opening;
  for (const auto& [index, path] :
       {std::pair{opening.from, opening.from_path}, std::pair{opening.to, opening.to_path}}) {
    Peer& peer = peers_[index];
    peer.channels.insert(opening.id);
    peer.path = path;
  }
  Want(opening.to_path);
  Refresh(opening.id, route);
}

void RelayTable::Close(ChannelId id) {
  const std::lock_guard lock(mutex_);
  const auto found = routes_.find(id);
  if (found == routes_.end()) return;
  // A program that comes late finds no entry, or no window of this channel.
  if (found->second.written) maps_.RemoveRelay(id);
  maps_.RemoveRelayWindow(id);
  Leave(found->second.opening.from, id);
  Leave(found->second.opening.to, id);
  routes_.erase(found);
}

void RelayTable::Leave(PeerIndex index, ChannelId id) {
  const auto peer = peers_.find(index);
  if (peer == peers_.end()) return;
  peer->second.channels.erase(id);
  if (peer->second.channels.empty()) peers_.erase(peer);
}

void RelayTable::Move(PeerIndex index, const UdpPath& path) {
  const std::lock_guard lock(mutex_);
  const auto found = peers_.find(index);
  if (found == peers_.end() || found->second.path == path) return;
  found->second.path = path;
  for (const ChannelId id : found->second.channels) {
    Route& route = routes_.at(id);
    if (route.opening.to == index) Want(path);
    Refresh(id, route);
  }
}

void RelayTable::Want(const UdpPath& path) {
  if (path.remote.is_set() && !ways_.contains(KeyOf(path))) fresh_.insert(KeyOf(path));
}

std::set<HopKey> RelayTable::TakeFresh() {
  const std::lock_guard lock(mutex_);
  return std::exchange(fresh_, {});
}

std::set<HopKey> RelayTable::Wanted() const {
  const std::lock_guard lock(mutex_);
  std::set<HopKey> out;
  for (const auto& [id, route] : routes_) {
    const UdpPath& path = peers_.at(route.opening.to).path;
    if (path.remote.is_set()) out.insert(KeyOf(path));
  }
  return out;
}

void RelayTable::SetHops(const Hops& hops, const Exits& exits) {
  const std::set<HopKey> wanted = Wanted();
  absl::flat_hash_map<HopKey, Way> usable;
  for (const HopKey& key : wanted) {
    const auto found = hops.find(key);
    if (found == hops.end() || found->second.addresses.vlan) continue;
    const auto exit = exits.find(found->second.interface);
    if (exit != exits.end()) usable.emplace(key, Way{found->second, exit->second});
  }
  const std::lock_guard lock(mutex_);
  if (usable == ways_) return;
  ways_ = std::move(usable);
  for (auto& [id, route] : routes_) Refresh(id, route);
}

RelayTable::Size RelayTable::size() const {
  const std::lock_guard lock(mutex_);
  Size out{.channels = routes_.size()};
  for (const auto& [id, route] : routes_) {
    if (route.written && route.written->interface != 0) ++out.sent_on;
  }
  return out;
}

void RelayTable::Refresh(ChannelId id, Route& route) {
  const std::optional<omni_steer_relay> entry = EntryOf(route.opening);
  if (IsSame(entry, route.written)) return;
  // What the map has no room for goes on as it is in user space.
  if (entry && maps_.PutRelay(id, *entry)) {
    route.written = entry;
  } else {
    if (route.written) maps_.RemoveRelay(id);
    route.written.reset();
  }
}

// No value: user space judges and sends, because XDP cannot know the sender: by a link-local
// address, which is another machine's on each interface, or by none.
std::optional<omni_steer_relay> RelayTable::EntryOf(const RelayWatch::Opening& opening) const {
  const Endpoint& from = peers_.at(opening.from).path.remote;
  const UdpPath& to = peers_.at(opening.to).path;
  if (!from.is_set() || from.scope_id != 0) return std::nullopt;
  omni_steer_relay out{
      .expires = static_cast<uint64_t>(opening.expires.time_since_epoch().count()),
      .pair_bytes_per_s = limits_.pair_bytes_per_s,
      .total_bytes_per_s = limits_.total_bytes_per_s,
      .pair = opening.pair,
      .from_family = static_cast<uint8_t>(from.address.family),
      .from_port = htons(from.port),
  };
  std::ranges::copy(from.address.bytes, out.from);
  // From one family to the other a datagram is not rewritten.
  const bool is_mixed = to.remote.is_set() && to.remote.address.family != from.address.family;
  const auto found = ways_.find(KeyOf(to));
  if (is_mixed || found == ways_.end()) return out;
  const auto& [hop, exit] = found->second;
  const FrameAddresses& addresses = hop.addresses;
  out.interface = hop.interface;
  out.redirects = exit == RelayExit::kRedirect ? 1 : 0;
  out.mtu = hop.mtu;
  out.to_family = static_cast<uint8_t>(to.remote.address.family);
  out.to_port = htons(to.remote.port);
  std::ranges::copy(to.remote.address.bytes, out.to);
  std::ranges::copy(addresses.local.bytes, out.local);
  std::ranges::copy(addresses.to, out.to_mac);
  std::ranges::copy(addresses.from, out.local_mac);
  return out;
}

}  // namespace omni
