// SPDX-License-Identifier: Apache-2.0
#include "nucleus/net/udp_socket.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "common/encoding.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: between two looks at the timers.
constexpr int kBatch = 256;
// LIMIT: 4 MiB each way: a fleet that starts at once sends some thousand datagrams in a moment. The
// kernel gives less where net.core.rmem_max says so.
constexpr int kBufferBytes = 4 << 20;
constexpr size_t kControlBytes = 128;  // one packet info of either family

absl::Status SetOption(int fd, int level, int name, int value, const char* what) {
  if (setsockopt(fd, level, name, &value, sizeof(value)) == 0) return absl::OkStatus();
  return ErrnoStatus(what);
}

absl::Status Prepare(int fd, IpFamily family) {
  (void)SetOption(fd, SOL_SOCKET, SO_RCVBUF, kBufferBytes, "SO_RCVBUF");
  (void)SetOption(fd, SOL_SOCKET, SO_SNDBUF, kBufferBytes, "SO_SNDBUF");
  // Never in fragments, whatever the kernel believes of the path: nodes probe for what fits (RFC
  // 8899, and QUIC wants it, too), and what the relay sends on must fit by itself.
  if (family == IpFamily::kV4) {
    RETURN_IF_ERROR(
        SetOption(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, "IP_MTU_DISCOVER"));
    return SetOption(fd, IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
  }
  RETURN_IF_ERROR(
      SetOption(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, "IPV6_MTU_DISCOVER"));
  RETURN_IF_ERROR(SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
  return SetOption(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
}

// To which address of ours the datagram came.
IpAddress LocalOf(const msghdr& message) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message), c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      in_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      // SAFETY: an in_addr is its four bytes.
      return *IpAddress::FromBytes({reinterpret_cast<const uint8_t*>(&info.ipi_addr), 4});
    }
    if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      in6_pktinfo info;
      std::memcpy(&info, CMSG_DATA(c), sizeof(info));
      return *IpAddress::FromBytes({info.ipi6_addr.s6_addr, 16});
    }
  }
  return {};
}

template <typename Info>
void AddControl(msghdr& message, int level, int type, const Info& info) {
  message.msg_controllen = CMSG_SPACE(sizeof(info));
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = level;
  header->cmsg_type = type;
  header->cmsg_len = CMSG_LEN(sizeof(info));
  std::memcpy(CMSG_DATA(header), &info, sizeof(info));
}

}  // namespace

absl::StatusOr<std::unique_ptr<UdpSocket>> UdpSocket::Bind(const Endpoint& at) {
  sockaddr_storage address{};
  const socklen_t length = at.ToSockaddr(&address);
  const int fd = socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return ErrnoStatus("open UDP socket");
  std::unique_ptr<UdpSocket> made(new UdpSocket(fd, at.address.family));
  RETURN_IF_ERROR(Prepare(fd, at.address.family));
  // SAFETY: sockaddr_storage holds the sockaddr that `length` bytes of it describe.
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return ErrnoStatus("listen on UDP " + at.ToString());
  }
  return made;
}

UdpSocket::~UdpSocket() { close(fd_); }

void UdpSocket::Receive(
    const std::function<void(std::span<const uint8_t>, const quic::Route&)>& take) {
  std::array<uint8_t, 2048> buffer;
  for (int i = 0; i < kBatch; ++i) {
    sockaddr_storage from{};
    alignas(cmsghdr) std::array<uint8_t, kControlBytes> control;
    iovec part = {.iov_base = buffer.data(), .iov_len = buffer.size()};
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof(from);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t size = recvmsg(fd_, &message, 0);
    if (size < 0)
      return;  // nothing more; or an error of an earlier datagram, which was reported so
    if ((message.msg_flags & MSG_TRUNC) != 0) continue;
    // SAFETY: the kernel wrote an address of the socket's family.
    const auto remote = Endpoint::FromSockaddr(reinterpret_cast<const sockaddr*>(&from));
    if (!remote || remote->port == 0) continue;
    take(std::span(buffer).first(static_cast<size_t>(size)),
         {.remote = *remote, .local = LocalOf(message)});
  }
}

bool UdpSocket::Send(const quic::Route& to, std::span<const uint8_t> datagram) {
  sockaddr_storage address{};
  alignas(cmsghdr) std::array<uint8_t, kControlBytes> control{};
  // SAFETY: sendmsg reads the datagram and does not write.
  iovec part = {.iov_base = const_cast<uint8_t*>(datagram.data()), .iov_len = datagram.size()};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = to.remote.ToSockaddr(&address);
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (to.local.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, to.local.bytes.data(), 4);
    AddControl(message, IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, to.local.bytes.data(), 16);
    AddControl(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
  return sendmsg(fd_, &message, 0) >= 0;
}

}  // namespace omni
