// SPDX-License-Identifier: Apache-2.0
#include "controller/net/interfaces.h"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <map>
#include <numeric>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "common/status.h"

namespace omni {

std::vector<IpAddress> InterfaceAddresses(const std::string& except) {
  ifaddrs* list = nullptr;
  std::vector<IpAddress> found;
  if (getifaddrs(&list) != 0) return found;
  const absl::Cleanup free_list = [list] { freeifaddrs(list); };
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_UP) == 0 ||
        except == entry->ifa_name) {
      continue;
    }
    const auto endpoint = Endpoint::FromSockaddr(entry->ifa_addr);
    if (!endpoint) continue;
    if (std::ranges::find(found, endpoint->address) == found.end()) {
      found.push_back(endpoint->address);
    }
  }
  std::stable_partition(found.begin(), found.end(), [](const IpAddress& a) { return !a.is_v4(); });
  return found;
}

std::vector<NetworkLink> NetworkLinks(const std::string& except) {
  // LIMIT: a machine with many containers has as many interfaces; neighbours are on the first.
  constexpr size_t kMaxLinks = 16;
  ifaddrs* list = nullptr;
  std::map<uint32_t, NetworkLink> found;
  if (getifaddrs(&list) != 0) return {};
  const absl::Cleanup free_list = [list] { freeifaddrs(list); };
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    constexpr unsigned kWanted = IFF_UP | IFF_RUNNING | IFF_MULTICAST;
    const bool is_link = (entry->ifa_flags & kWanted) == kWanted &&
                         (entry->ifa_flags & (IFF_LOOPBACK | IFF_POINTOPOINT)) == 0;
    if (entry->ifa_addr == nullptr || !is_link || except == entry->ifa_name) continue;
    const auto address = Endpoint::FromSockaddr(entry->ifa_addr);
    const uint32_t index = if_nametoindex(entry->ifa_name);
    if (!address || index == 0) continue;
    NetworkLink& link = found[index];
    link.index = index;
    if (address->scope_id != 0) {
      if (!link.v6) link.v6 = address->address;
    } else if (address->address.is_v4() && !link.v4 && entry->ifa_netmask != nullptr) {
      const auto mask = Endpoint::FromSockaddr(entry->ifa_netmask);
      if (!mask) continue;
      const auto raw = mask->address.raw();
      const int length = std::accumulate(raw.begin(), raw.end(), 0, [](int sum, uint8_t byte) {
        return sum + std::popcount(byte);
      });
      link.v4 = {.address = address->address, .length = static_cast<uint8_t>(length)};
    }
  }
  std::vector<NetworkLink> links;
  for (const auto& [index, link] : found) {
    if ((link.v4 || link.v6) && links.size() < kMaxLinks) links.push_back(link);
  }
  return links;
}

AddressWatcher::AddressWatcher(boost::asio::io_context& loop, std::function<void()> changed)
    : socket_(loop), changed_(std::move(changed)) {}

absl::Status AddressWatcher::Start() {
  const int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0) return ErrnoStatus("open rtnetlink socket");
  socket_.assign(fd);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  // SAFETY: a sockaddr_nl is a sockaddr of its family.
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus("listen on rtnetlink");
  }
  Wait();
  return absl::OkStatus();
}

void AddressWatcher::Wait() {
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [this](const boost::system::error_code& error) {
                       if (error) return;
                       // What it says is not read: who is told looks at the interfaces anew.
                       std::array<char, 8192> buffer;
                       while (recv(socket_.native_handle(), buffer.data(), buffer.size(), 0) > 0) {
                       }
                       Wait();
                       changed_();
                     });
}

}  // namespace omni
