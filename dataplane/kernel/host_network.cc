// SPDX-License-Identifier: Apache-2.0
#include "dataplane/kernel/host_network.h"

#include <ifaddrs.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netpacket/packet.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <map>

#include "common/status.h"

namespace omni {
namespace {

constexpr uint32_t kGroups =
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
// LIMIT: an answer holds one route, some hundred bytes.
constexpr size_t kAnswerBytes = 4096;
// LIMIT: the kernel answers at once; should it not, the peer is tried again with the next change.
constexpr timeval kPatience = {.tv_sec = 0, .tv_usec = 100'000};

struct Request {
  nlmsghdr header;
  rtmsg route;
  std::array<uint8_t, 64> attributes;
};

void AddAttribute(Request& request, uint16_t type, std::span<const uint8_t> value) {
  const rtattr attribute{.rta_len = static_cast<uint16_t>(RTA_LENGTH(value.size())),
                         .rta_type = type};
  uint8_t* at = request.attributes.data() + request.header.nlmsg_len - NLMSG_LENGTH(sizeof(rtmsg));
  std::memcpy(at, &attribute, sizeof(attribute));
  std::memcpy(at + RTA_LENGTH(0), value.data(), value.size());
  request.header.nlmsg_len += static_cast<uint32_t>(RTA_SPACE(value.size()));
}

// The route of an answer; no value when it is none to another machine.
std::optional<HostNetwork::Route> ReadRoute(std::span<const uint8_t> message) {
  nlmsghdr header;
  rtmsg route;
  constexpr size_t kFixed = NLMSG_LENGTH(sizeof(rtmsg));
  if (message.size() < kFixed) return std::nullopt;
  std::memcpy(&header, message.data(), sizeof(header));
  std::memcpy(&route, message.data() + NLMSG_HDRLEN, sizeof(route));
  if (header.nlmsg_type != RTM_NEWROUTE || header.nlmsg_len > message.size()) return std::nullopt;
  if (header.nlmsg_len < kFixed || route.rtm_type != RTN_UNICAST) return std::nullopt;
  auto rest = message.subspan(kFixed, header.nlmsg_len - kFixed);
  HostNetwork::Route out;
  bool has_source = false;
  while (rest.size() >= sizeof(rtattr)) {
    rtattr attribute;
    std::memcpy(&attribute, rest.data(), sizeof(attribute));
    if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > rest.size()) break;
    const auto value = rest.subspan(sizeof(attribute), attribute.rta_len - sizeof(attribute));
    if (attribute.rta_type == RTA_OIF && value.size() == sizeof(out.interface)) {
      std::memcpy(&out.interface, value.data(), sizeof(out.interface));
    }
    if (attribute.rta_type == RTA_PREFSRC) {
      if (const auto source = IpAddress::FromBytes(value)) {
        out.source = *source;
        has_source = true;
      }
    }
    rest = rest.subspan(std::min<size_t>(rest.size(), RTA_ALIGN(attribute.rta_len)));
  }
  if (out.interface <= 0 || !has_source) return std::nullopt;
  return out;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HostNetwork>> HostNetwork::Open() {
  FileDescriptor monitor(
      socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
  FileDescriptor query(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!monitor.is_open() || !query.is_open()) return ErrnoStatus("open rtnetlink");
  const sockaddr_nl address{.nl_family = AF_NETLINK, .nl_groups = kGroups};
  // SAFETY: the socket interface takes any address as a sockaddr.
  if (bind(monitor.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus("listen to rtnetlink");
  }
  if (setsockopt(query.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) != 0) {
    return ErrnoStatus("set up rtnetlink");
  }
  return std::unique_ptr<HostNetwork>(new HostNetwork(std::move(monitor), std::move(query)));
}

bool HostNetwork::TakeChange() {
  bool changed = false;
  std::array<uint8_t, kAnswerBytes> ignored;
  // What it was does not matter: everything is looked at again. ENOBUFS: news were lost.
  while (recv(monitor_.get(), ignored.data(), ignored.size(), 0) >= 0 || errno == ENOBUFS ||
         errno == EINTR) {
    changed = true;
  }
  return changed;
}

std::set<int> HostNetwork::Interfaces() const {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  std::map<std::string, bool> has_address;  // by name of an Ethernet interface
  std::set<int> out;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const bool usable = (entry->ifa_flags & (IFF_UP | IFF_LOOPBACK)) == IFF_UP;
    if (!usable || entry->ifa_addr == nullptr) continue;
    if (entry->ifa_addr->sa_family == AF_PACKET) {
      sockaddr_ll link;
      std::memcpy(&link, entry->ifa_addr, sizeof(link));
      if (link.sll_hatype == ARPHRD_ETHER) has_address.emplace(entry->ifa_name, false);
    }
  }
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    const int family = entry->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    if (!has_address.contains(entry->ifa_name)) continue;
    if (const unsigned index = if_nametoindex(entry->ifa_name)) {
      out.insert(static_cast<int>(index));
    }
  }
  freeifaddrs(list);
  return out;
}

std::optional<HostNetwork::Route> HostNetwork::Resolve(const UdpPath& path) {
  if (path.local) {
    if (const auto route = Ask(path.remote, path.local)) return route;
  }
  return Ask(path.remote, std::nullopt);
}

std::optional<HostNetwork::Route> HostNetwork::Ask(const Endpoint& remote,
                                                   const std::optional<IpAddress>& source) {
  Request request{};
  request.header = {.nlmsg_len = NLMSG_LENGTH(sizeof(rtmsg)),
                    .nlmsg_type = RTM_GETROUTE,
                    .nlmsg_flags = NLM_F_REQUEST,
                    .nlmsg_seq = ++sequence_};
  const auto bits = static_cast<uint8_t>(remote.address.bits());
  request.route.rtm_family = remote.address.is_v4() ? AF_INET : AF_INET6;
  request.route.rtm_dst_len = bits;
  AddAttribute(request, RTA_DST, remote.address.raw());
  if (source && source->family == remote.address.family) {
    request.route.rtm_src_len = bits;
    AddAttribute(request, RTA_SRC, source->raw());
  }
  if (remote.scope_id != 0) {
    std::array<uint8_t, sizeof(remote.scope_id)> scope;
    std::memcpy(scope.data(), &remote.scope_id, scope.size());
    AddAttribute(request, RTA_OIF, scope);
  }
  if (send(query_.get(), &request, request.header.nlmsg_len, 0) < 0) return std::nullopt;
  std::array<uint8_t, kAnswerBytes> answer;
  while (true) {
    const ssize_t bytes = recv(query_.get(), answer.data(), answer.size(), 0);
    if (bytes < static_cast<ssize_t>(sizeof(nlmsghdr))) return std::nullopt;
    nlmsghdr header;
    std::memcpy(&header, answer.data(), sizeof(header));
    // An answer that came too late for the question before.
    if (header.nlmsg_seq != sequence_) continue;
    auto route = ReadRoute({answer.data(), static_cast<size_t>(bytes)});
    if (route && source && source->family == remote.address.family) route->source = *source;
    return route;
  }
}

}  // namespace omni
