// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/netlink_underlay.h"

#include <fmt/format.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/status.h"

namespace omni {
namespace {

absl::Status NetlinkStatus(int error, const char* what) {
  if (error >= 0) return absl::OkStatus();
  return absl::InternalError(fmt::format("{}: {}", what, nl_geterror(error)));
}

}  // namespace

absl::StatusOr<std::unique_ptr<NetlinkUnderlay>> NetlinkUnderlay::Open(const std::string& tun) {
  Socket socket(nl_socket_alloc());
  Socket monitor(nl_socket_alloc());
  nl_socket_disable_seq_check(monitor.get());
  for (nl_sock* each : {socket.get(), monitor.get()}) {
    RETURN_IF_ERROR(NetlinkStatus(nl_connect(each, NETLINK_ROUTE), "open rtnetlink"));
  }
  RETURN_IF_ERROR(
      NetlinkStatus(nl_socket_add_memberships(monitor.get(), RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE,
                                              RTNLGRP_IPV6_ROUTE, RTNLGRP_NONE),
                    "listen to rtnetlink"));
  RETURN_IF_ERROR(NetlinkStatus(nl_socket_set_nonblocking(monitor.get()), "listen to rtnetlink"));
  std::unique_ptr<NetlinkUnderlay> out(new NetlinkUnderlay(
      std::move(socket), std::move(monitor), static_cast<int>(if_nametoindex(tun.c_str()))));
  nl_socket_modify_cb(out->monitor_.get(), NL_CB_VALID, NL_CB_CUSTOM, OnMessage, out.get());
  out->ReadLinks();
  return out;
}

int NetlinkUnderlay::OnMessage(nl_msg* message, void* self) {
  auto* underlay = static_cast<NetlinkUnderlay*>(self);
  const nlmsghdr* header = nlmsg_hdr(message);
  if (header->nlmsg_type == RTM_NEWLINK || header->nlmsg_type == RTM_DELLINK) {
    if (!nlmsg_valid_hdr(header, sizeof(ifinfomsg))) return NL_OK;
    const auto* info = static_cast<const ifinfomsg*>(nlmsg_data(header));
    if (info->ifi_index == underlay->tun_index_) return NL_OK;
  }
  underlay->changed_ = true;
  return NL_OK;
}

bool NetlinkUnderlay::TakeChange() {
  while (true) {
    const int error = nl_recvmsgs_default(monitor_.get());
    if (error == -NLE_NOMEM) changed_ = true;  // news were lost
    if (error < 0) break;
  }
  if (!std::exchange(changed_, false)) return false;
  ReadLinks();
  return true;
}

void NetlinkUnderlay::ReadLinks() {
  nl_cache* links = nullptr;
  if (rtnl_link_alloc_cache(socket_.get(), AF_UNSPEC, &links) < 0) return;
  const absl::Cleanup free_links = [links] { nl_cache_free(links); };
  uint32_t largest = 0;
  for (nl_object* at = nl_cache_get_first(links); at != nullptr; at = nl_cache_get_next(at)) {
    // SAFETY: the objects of a link cache are links.
    auto* link = reinterpret_cast<rtnl_link*>(at);
    const unsigned flags = rtnl_link_get_flags(link);
    const bool up = (flags & IFF_UP) != 0 && (flags & IFF_LOOPBACK) == 0;
    if (up && rtnl_link_get_ifindex(link) != tun_index_) {
      largest = std::max(largest, rtnl_link_get_mtu(link));
    }
  }
  largest_.store(largest, std::memory_order_relaxed);
}

uint32_t NetlinkUnderlay::MtuOf(int index) {
  rtnl_link* link = nullptr;
  if (rtnl_link_get_kernel(socket_.get(), index, nullptr, &link) < 0) return LargestMtu();
  const uint32_t mtu = rtnl_link_get_mtu(link);
  rtnl_link_put(link);
  return mtu;
}

uint32_t NetlinkUnderlay::MtuTowards(const Endpoint& remote) {
  // A link-local address says which interface it is on; each of them has a route for it.
  if (remote.scope_id != 0) return MtuOf(static_cast<int>(remote.scope_id));
  const IpAddress& to = remote.address;
  nl_addr* address =
      nl_addr_build(to.is_v4() ? AF_INET : AF_INET6, to.raw().data(), to.raw().size());
  rtnl_route* route = nullptr;
  const int error = rtnl_route_lookup(socket_.get(), address, &route);
  nl_addr_put(address);
  if (error < 0 || route == nullptr) return LargestMtu();
  const absl::Cleanup free_route = [route] { rtnl_route_put(route); };
  if (rtnl_route_get_nnexthops(route) == 0) return LargestMtu();
  const int index = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0));
  // Not the route's own MTU: what any ICMP made the kernel believe stands there as well.
  return MtuOf(index);
}

}  // namespace omni
