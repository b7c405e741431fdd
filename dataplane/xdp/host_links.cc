// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/host_links.h"

#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/if_vlan.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "common/status.h"

namespace omni {
namespace {

constexpr uint32_t Group(int number) { return 1U << (number - 1); }
constexpr uint32_t kGroups = Group(RTNLGRP_LINK) | Group(RTNLGRP_NEIGH) |
                             Group(RTNLGRP_IPV4_IFADDR) | Group(RTNLGRP_IPV6_IFADDR) |
                             Group(RTNLGRP_IPV4_ROUTE) | Group(RTNLGRP_IPV6_ROUTE);

ifreq RequestFor(const std::string& name) {
  ifreq out{};
  name.copy(out.ifr_name, sizeof(out.ifr_name) - 1);
  return out;
}

// Empty when the driver does not answer.
template <typename T>
std::optional<T> AskEthtool(int fd, const std::string& name, uint32_t command) {
  T answer{};
  answer.cmd = command;
  ifreq request = RequestFor(name);
  // SAFETY: the kernel's interface for all of ethtool's structures.
  request.ifr_data = reinterpret_cast<char*>(&answer);
  if (ioctl(fd, SIOCETHTOOL, &request) != 0) return std::nullopt;
  return answer;
}

std::optional<VlanTag> AskVlan(int fd, const std::string& name) {
  vlan_ioctl_args question{};
  question.cmd = GET_VLAN_VID_CMD;
  name.copy(question.device1, sizeof(question.device1) - 1);
  if (ioctl(fd, SIOCGIFVLAN, &question) != 0) return std::nullopt;
  const auto id = static_cast<uint16_t>(question.u.VID);
  question.cmd = GET_VLAN_REALDEV_NAME_CMD;
  if (ioctl(fd, SIOCGIFVLAN, &question) != 0) return std::nullopt;
  const unsigned below = if_nametoindex(question.u.device2);
  if (below == 0) return std::nullopt;
  return VlanTag{.below = below, .id = id};
}

void AskDetails(int fd, HostInterface& interface) {
  if (const auto info = AskEthtool<ethtool_drvinfo>(fd, interface.name, ETHTOOL_GDRVINFO)) {
    interface.driver = info->driver;
  }
  if (const auto channels = AskEthtool<ethtool_channels>(fd, interface.name, ETHTOOL_GCHANNELS)) {
    interface.rx_queues = std::max(1U, channels->rx_count + channels->combined_count);
  }
  ifreq request = RequestFor(interface.name);
  if (ioctl(fd, SIOCGIFMTU, &request) == 0) interface.mtu = static_cast<uint32_t>(request.ifr_mtu);
  interface.vlan = AskVlan(fd, interface.name);
}

}  // namespace

absl::StatusOr<HostLinks> HostLinks::Open() {
  FileDescriptor monitor(
      socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  FileDescriptor query(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!monitor.is_open() || !query.is_open()) return ErrnoStatus("open rtnetlink");
  const sockaddr_nl address{.nl_family = AF_NETLINK, .nl_groups = kGroups};
  // SAFETY: the socket interface takes any address as a sockaddr.
  if (bind(monitor.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus("listen to rtnetlink");
  }
  return HostLinks(std::move(monitor), std::move(query));
}

bool HostLinks::TakeChange() {
  bool changed = false;
  std::array<uint8_t, 4096> ignored;
  // What it was does not matter: everything is looked at again. ENOBUFS: news were lost.
  while (recv(monitor_.get(), ignored.data(), ignored.size(), 0) >= 0 || errno == ENOBUFS ||
         errno == EINTR) {
    changed = true;
  }
  return changed;
}

HostLinks::View HostLinks::Look() const {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  View out;
  std::map<std::string, HostInterface> found;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_PACKET) continue;
    sockaddr_ll link;
    std::memcpy(&link, entry->ifa_addr, sizeof(link));
    if (link.sll_hatype != ARPHRD_ETHER || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    HostInterface& interface = found[entry->ifa_name];
    interface.index = static_cast<uint32_t>(link.sll_ifindex);
    interface.name = entry->ifa_name;
    interface.up = (entry->ifa_flags & IFF_UP) != 0;
    std::copy_n(link.sll_addr, interface.mac.size(), interface.mac.begin());
  }
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const auto address = Endpoint::FromSockaddr(entry->ifa_addr);
    if (!address) continue;
    const auto interface = found.find(entry->ifa_name);
    if (interface != found.end()) interface->second.addresses.push_back(address->address);
    if ((entry->ifa_flags & IFF_LOOPBACK) != 0) out.loopback.insert(address->address);
  }
  freeifaddrs(list);
  for (auto& [name, interface] : found) {
    AskDetails(query_.get(), interface);
    std::ranges::sort(interface.addresses);
    out.interfaces.push_back(std::move(interface));
  }
  return out;
}

}  // namespace omni
