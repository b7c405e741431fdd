// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/hop_finder.h"

#include <linux/neighbour.h>
#include <netlink/netlink.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/status.h"

namespace omni {
namespace {

// States in which the kernel would send at once.
constexpr int kUsable =
    NUD_REACHABLE | NUD_PERMANENT | NUD_NOARP | NUD_STALE | NUD_DELAY | NUD_PROBE;

nl_addr* MakeAddress(const IpAddress& address) {
  return nl_addr_build(address.is_v4() ? AF_INET : AF_INET6, address.raw().data(),
                       address.raw().size());
}

std::optional<IpAddress> ReadAddress(nl_addr* address) {
  if (address == nullptr) return std::nullopt;
  // SAFETY: libnl owns the bytes for as long as the address.
  const auto* bytes = static_cast<const uint8_t*>(nl_addr_get_binary_addr(address));
  return IpAddress::FromBytes({bytes, nl_addr_get_len(address)});
}

}  // namespace

void HopFinder::CacheDeleter::operator()(nl_cache* cache) const { nl_cache_free(cache); }

absl::StatusOr<HopFinder> HopFinder::Open(uint16_t listen_port) {
  HopFinder out(nl_socket_alloc(), listen_port);
  if (const int error = nl_connect(out.socket_.get(), NETLINK_ROUTE); error < 0) {
    return absl::InternalError(std::string("open rtnetlink: ") + nl_geterror(error));
  }
  return out;
}

void HopFinder::Refresh(std::vector<HostInterface> interfaces) {
  interfaces_ = std::move(interfaces);
  stale_.clear();
  nl_cache* cache = nullptr;
  neighbours_.reset(rtnl_neigh_alloc_cache(socket_.get(), &cache) == 0 ? cache : nullptr);
}

const HostInterface* HopFinder::FindInterface(uint32_t index) const {
  const auto found = std::ranges::find(interfaces_, index, &HostInterface::index);
  return found == interfaces_.end() ? nullptr : &*found;
}

std::optional<HopFinder::Found> HopFinder::Find(const HopKey& key) {
  const auto route = FindRoute(key.remote);
  if (!route) return std::nullopt;
  const HostInterface* interface = FindInterface(route->interface);
  if (interface == nullptr || !interface->up) return std::nullopt;
  const auto source = key.has_local() ? key.local : route->source;
  const auto& own = interface->addresses;
  if (!source || source->family != key.remote.address.family ||
      std::ranges::find(own, *source) == own.end()) {
    return std::nullopt;
  }
  const auto neighbour = FindNeighbour(route->interface, route->gateway);
  if (!neighbour) return std::nullopt;
  Found out{.interface = interface->index,
            .mtu = interface->mtu,
            .addresses = {.to = *neighbour,
                          .from = interface->mac,
                          .remote = key.remote,
                          .local = *source,
                          .local_port = port_}};
  if (interface->vlan) {
    out.interface = interface->vlan->below;
    out.addresses.vlan = interface->vlan->id;
  }
  return out;
}

std::optional<HopFinder::Route> HopFinder::FindRoute(const Endpoint& remote) {
  nl_addr* address = MakeAddress(remote.address);
  rtnl_route* route = nullptr;
  const int error = rtnl_route_lookup(socket_.get(), address, &route);
  nl_addr_put(address);
  if (error < 0 || route == nullptr) return std::nullopt;
  const absl::Cleanup free_route = [route] { rtnl_route_put(route); };
  if (rtnl_route_get_type(route) != RTN_UNICAST || rtnl_route_get_nnexthops(route) == 0) {
    return std::nullopt;
  }
  rtnl_nexthop* hop = rtnl_route_nexthop_n(route, 0);
  Route out{.interface = static_cast<uint32_t>(rtnl_route_nh_get_ifindex(hop)),
            .gateway = remote.address,
            .source = ReadAddress(rtnl_route_get_pref_src(route))};
  // A link-local address means nothing without its interface.
  if (remote.scope_id != 0) out.interface = remote.scope_id;
  if (const auto gateway = ReadAddress(rtnl_route_nh_get_gateway(hop))) out.gateway = *gateway;
  if (rtnl_route_nh_get_via(hop) != nullptr) return std::nullopt;  // IPv4 by way of IPv6
  return out;
}

std::optional<MacAddress> HopFinder::FindNeighbour(uint32_t interface, const IpAddress& address) {
  if (neighbours_ == nullptr) return std::nullopt;
  nl_addr* target = MakeAddress(address);
  rtnl_neigh* neighbour = rtnl_neigh_get(neighbours_.get(), static_cast<int>(interface), target);
  nl_addr_put(target);
  if (neighbour == nullptr) return std::nullopt;
  const absl::Cleanup free_neighbour = [neighbour] { rtnl_neigh_put(neighbour); };
  const int state = rtnl_neigh_get_state(neighbour);
  nl_addr* link = rtnl_neigh_get_lladdr(neighbour);
  MacAddress out{};
  if ((state & kUsable) == 0 || link == nullptr || nl_addr_get_len(link) != out.size()) {
    return std::nullopt;
  }
  const auto* bytes = static_cast<const uint8_t*>(nl_addr_get_binary_addr(link));
  std::copy_n(bytes, out.size(), out.begin());
  if ((state & NUD_STALE) != 0) stale_.insert({interface, address});
  return out;
}

void HopFinder::KeepNeighbours() {
  for (const auto& [interface, address] : std::exchange(stale_, {})) {
    rtnl_neigh* neighbour = rtnl_neigh_alloc();
    nl_addr* target = MakeAddress(address);
    rtnl_neigh_set_ifindex(neighbour, static_cast<int>(interface));
    rtnl_neigh_set_dst(neighbour, target);
    rtnl_neigh_set_flags(neighbour, NTF_USE);
    // Refused: it has gone, and will not be found the next time.
    (void)rtnl_neigh_add(socket_.get(), neighbour, NLM_F_REPLACE);
    nl_addr_put(target);
    rtnl_neigh_put(neighbour);
  }
}

}  // namespace omni
