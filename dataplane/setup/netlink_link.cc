// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/netlink_link.h"

#include <fmt/format.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: what the kernel gives IPv6 routes by default. Routes of the machine's own networks have
// less and win: a peer's prefix must not take away the network that carries the tunnel.
constexpr uint32_t kRouteMetric = 1024;

// "add address 10.77.0.1/24 to omni0: Operation not permitted"
absl::Status NetlinkStatus(int error, const std::string& what) {
  if (error >= 0) return absl::OkStatus();
  const bool denied = -error == NLE_PERM || -error == NLE_NOACCESS;
  return {denied ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kInternal,
          fmt::format("{}: {}", what, nl_geterror(error))};
}

nl_addr* MakeAddress(const IpAddress& address, int length) {
  nl_addr* out = nl_addr_build(address.is_v4() ? AF_INET : AF_INET6, address.raw().data(),
                               address.raw().size());
  nl_addr_set_prefixlen(out, length);
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<NetlinkLink>> NetlinkLink::Open(const std::string& name) {
  Socket socket(nl_socket_alloc());
  Socket monitor(nl_socket_alloc());
  nl_socket_disable_seq_check(monitor.get());
  for (nl_sock* each : {socket.get(), monitor.get()}) {
    RETURN_IF_ERROR(NetlinkStatus(nl_connect(each, NETLINK_ROUTE), "open rtnetlink"));
  }
  RETURN_IF_ERROR(
      NetlinkStatus(nl_socket_add_membership(monitor.get(), RTNLGRP_LINK), "listen to rtnetlink"));
  RETURN_IF_ERROR(NetlinkStatus(nl_socket_set_nonblocking(monitor.get()), "listen to rtnetlink"));
  const unsigned index = if_nametoindex(name.c_str());
  if (index == 0) return absl::NotFoundError(fmt::format("interface {}: does not exist", name));
  std::unique_ptr<NetlinkLink> out(
      new NetlinkLink(name, std::move(socket), std::move(monitor), static_cast<int>(index)));
  nl_socket_modify_cb(out->monitor_.get(), NL_CB_VALID, NL_CB_CUSTOM, OnLinkMessage, out.get());
  return out;
}

int NetlinkLink::OnLinkMessage(nl_msg* message, void* self) {
  auto* link = static_cast<NetlinkLink*>(self);
  const nlmsghdr* header = nlmsg_hdr(message);
  if (header->nlmsg_type != RTM_NEWLINK || !nlmsg_valid_hdr(header, sizeof(ifinfomsg)))
    return NL_OK;
  const auto* info = static_cast<const ifinfomsg*>(nlmsg_data(header));
  if (info->ifi_index != link->index_) return NL_OK;
  const bool up = (info->ifi_flags & IFF_UP) != 0;
  if (up && link->was_down_) link->came_up_ = true;
  link->was_down_ = !up;
  return NL_OK;
}

bool NetlinkLink::TakeReset() {
  // News that were lost (NLE_NOMEM) may have been of this interface.
  while (true) {
    const int error = nl_recvmsgs_default(monitor_.get());
    if (error == -NLE_NOMEM) came_up_ = true;
    if (error < 0) break;
  }
  if (!std::exchange(came_up_, false)) return false;
  // ORDER: relaxed; Apply() follows in the same thread, or finds it soon enough in another.
  forget_.store(true, std::memory_order_relaxed);
  return true;
}

absl::Status NetlinkLink::Apply(const LinkState& wanted) {
  if (forget_.exchange(false, std::memory_order_relaxed)) applied_ = {};
  RETURN_IF_ERROR(SetLink(wanted));
  // One that the kernel refuses keeps none of the others away.
  const auto apply = [](auto& have, const auto& want, const auto& change, const auto& refused) {
    const std::set had(have.begin(), have.end());
    const std::set kept(want.begin(), want.end());
    for (const auto& item : had) {
      if (kept.contains(item)) continue;
      const absl::Status status = change(item, Change::kRemove);
      if (!status.ok()) refused(item, status);
      std::erase(have, item);
    }
    for (const auto& item : want) {
      if (had.contains(item)) continue;
      const absl::Status status = change(item, Change::kAdd);
      if (status.ok()) {
        have.push_back(item);
      } else {
        refused(item, status);
      }
    }
  };
  absl::Status addresses;
  apply(
      applied_.addresses, wanted.addresses,
      [this](const auto& item, Change c) { return ChangeAddress(item, c); },
      [&](const auto&, const absl::Status& status) { addresses.Update(status); });
  RETURN_IF_ERROR(addresses);
  // Once: it is tried again with each change of the state.
  std::set<IpPrefix> refused;
  apply(
      applied_.routes, wanted.routes,
      [this](const auto& item, Change c) { return ChangeRoute(item, c); },
      [&](const IpPrefix& item, const absl::Status& status) {
        if (!refused_routes_.contains(item)) spdlog::error("{}", Message(status));
        refused.insert(item);
      });
  refused_routes_ = std::move(refused);
  return absl::OkStatus();
}

absl::Status NetlinkLink::SetLink(const LinkState& wanted) {
  const bool is_so = wanted.mtu == applied_.mtu && wanted.up == applied_.up;
  if (is_so || wanted.mtu == 0) return absl::OkStatus();
  rtnl_link* link = rtnl_link_alloc();
  rtnl_link* change = rtnl_link_alloc();
  const absl::Cleanup free_links = [&] {
    rtnl_link_put(link);
    rtnl_link_put(change);
  };
  rtnl_link_set_ifindex(link, index_);
  rtnl_link_set_mtu(change, wanted.mtu);
  wanted.up ? rtnl_link_set_flags(change, IFF_UP) : rtnl_link_unset_flags(change, IFF_UP);
  RETURN_IF_ERROR(NetlinkStatus(
      rtnl_link_change(socket_.get(), link, change, 0),
      fmt::format("set {} {} with MTU {}", name_, wanted.up ? "up" : "down", wanted.mtu)));
  applied_.mtu = wanted.mtu;
  applied_.up = wanted.up;
  return absl::OkStatus();
}

absl::Status NetlinkLink::ChangeAddress(const InterfaceAddress& address, Change change) {
  rtnl_addr* entry = rtnl_addr_alloc();
  nl_addr* local = MakeAddress(address.address, address.length);
  const absl::Cleanup free_entry = [&] {
    rtnl_addr_put(entry);
    nl_addr_put(local);
  };
  rtnl_addr_set_ifindex(entry, index_);
  rtnl_addr_set_local(entry, local);
  // No duplicate detection on a point-to-point device: it would only make the address unusable for
  // a second.
  if (!address.address.is_v4()) rtnl_addr_set_flags(entry, IFA_F_NODAD);
  if (change == Change::kRemove) {
    const int error = rtnl_addr_delete(socket_.get(), entry, 0);
    if (error == -NLE_NOADDR) return absl::OkStatus();
    return NetlinkStatus(error,
                         fmt::format("remove address {} from {}", address.ToString(), name_));
  }
  return NetlinkStatus(rtnl_addr_add(socket_.get(), entry, NLM_F_CREATE | NLM_F_REPLACE),
                       fmt::format("add address {} to {}", address.ToString(), name_));
}

absl::Status NetlinkLink::ChangeRoute(const IpPrefix& prefix, Change change) {
  rtnl_route* route = rtnl_route_alloc();
  nl_addr* destination = MakeAddress(prefix.address, prefix.length);
  const absl::Cleanup free_route = [&] {
    rtnl_route_put(route);
    nl_addr_put(destination);
  };
  rtnl_route_set_family(route, static_cast<uint8_t>(prefix.address.is_v4() ? AF_INET : AF_INET6));
  rtnl_route_set_table(route, RT_TABLE_MAIN);
  rtnl_route_set_protocol(route, RTPROT_STATIC);
  rtnl_route_set_priority(route, kRouteMetric);
  rtnl_route_set_scope(route, prefix.address.is_v4() ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
  rtnl_route_set_dst(route, destination);
  rtnl_nexthop* hop = rtnl_route_nh_alloc();
  rtnl_route_nh_set_ifindex(hop, index_);
  rtnl_route_add_nexthop(route, hop);  // owns the hop from here on
  if (change == Change::kRemove) {
    const int error = rtnl_route_delete(socket_.get(), route, 0);
    if (error == -NLE_OBJ_NOTFOUND) return absl::OkStatus();
    return NetlinkStatus(error, fmt::format("remove route {} from {}", prefix.ToString(), name_));
  }
  // Not NLM_F_REPLACE: a route that is there is another's, and would be gone with ours.
  return NetlinkStatus(rtnl_route_add(socket_.get(), route, NLM_F_CREATE | NLM_F_EXCL),
                       fmt::format("add route {} to {}", prefix.ToString(), name_));
}

}  // namespace omni
