// SPDX-License-Identifier: Apache-2.0
// Opening and binding of the sockets behind KernelUdpPort.
#include <fmt/format.h>
#include <linux/filter.h>

#include "bpf/abi.h"
#include "common/log.h"
#include "common/status.h"
#include "dataplane/io/udp_port.h"
#include "dataplane/io/virtio_net.h"

namespace omni {
namespace {

// LIMIT: 8 MiB of socket buffer; above 1 MiB no effect was measured on veth, a 208 KiB default was
// seen to limit others to a tenth of a link.
constexpr int kSocketBufferBytes = 8 * 1024 * 1024;

absl::Status SetOption(int fd, int level, int name, int value, const char* text) {
  if (setsockopt(fd, level, name, &value, sizeof(value)) != 0) {
    return ErrnoStatus(fmt::format("set socket option {}", text));
  }
  return absl::OkStatus();
}

// SO_xBUFFORCE needs CAP_NET_ADMIN; without it the system's limit holds.
void GrowBuffers(int fd) {
  const auto grow = [fd](int force, int plain) {
    if (SetOption(fd, SOL_SOCKET, force, kSocketBufferBytes, "buffer").ok()) return;
    (void)SetOption(fd, SOL_SOCKET, plain, kSocketBufferBytes, "buffer");
  };
  grow(SO_RCVBUFFORCE, SO_RCVBUF);
  grow(SO_SNDBUFFORCE, SO_SNDBUF);
}

absl::Status Configure(int fd, int family) {
  GrowBuffers(fd);
  if (family == AF_INET) {
    RETURN_IF_ERROR(SetOption(fd, SOL_IP, IP_PKTINFO, 1, "IP_PKTINFO"));
    RETURN_IF_ERROR(SetOption(fd, SOL_IP, IP_RECVTOS, 1, "IP_RECVTOS"));
    // DF on everything, and no word of the kernel's path MTU: it believes any ICMP. EMSGSIZE then
    // means the interface itself.
    RETURN_IF_ERROR(SetOption(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE, "IP_MTU_DISCOVER"));
  } else {
    RETURN_IF_ERROR(SetOption(fd, SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
    RETURN_IF_ERROR(SetOption(fd, SOL_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO"));
    RETURN_IF_ERROR(SetOption(fd, SOL_IPV6, IPV6_RECVTCLASS, 1, "IPV6_RECVTCLASS"));
    RETURN_IF_ERROR(
        SetOption(fd, SOL_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE, "IPV6_MTU_DISCOVER"));
    RETURN_IF_ERROR(SetOption(fd, SOL_IPV6, IPV6_DONTFRAG, 1, "IPV6_DONTFRAG"));
  }
  return absl::OkStatus();
}

absl::Status EnableGro(const KernelUdpPort::Sockets& sockets) {
  RETURN_IF_ERROR(SetOption(sockets.v4.get(), SOL_UDP, UDP_GRO, 1, "UDP_GRO"));
  if (!sockets.v6.is_open()) return absl::OkStatus();
  return SetOption(sockets.v6.get(), SOL_UDP, UDP_GRO, 1, "UDP_GRO");
}

enum class Sharing { kExclusive, kReuseport };

absl::StatusOr<FileDescriptor> BindOne(int family, uint16_t port, Sharing sharing) {
  FileDescriptor fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open()) return ErrnoStatus("open UDP socket");
  RETURN_IF_ERROR(Configure(fd.get(), family));
  if (sharing == Sharing::kReuseport) {
    RETURN_IF_ERROR(SetOption(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
  }
  sockaddr_storage storage{};
  IpAddress any;
  any.family = family == AF_INET ? IpFamily::kV4 : IpFamily::kV6;
  const socklen_t length = Endpoint{any, port}.ToSockaddr(&storage);
  // SAFETY: sockaddr_storage is made to be seen as any sockaddr.
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    return ErrnoStatus(fmt::format("bind UDP port {}", port));
  }
  return fd;
}

// Session data (first byte 4) goes to socket `channel number mod workers`, everything else to
// socket 0. The program sees the UDP payload; the result is an index into the group, in the order
// of binding.
absl::Status SteerToOwners(int fd, uint32_t workers) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OMNI_MSG_DATA, 0, 4),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, OMNI_CHANNEL_NUMBER_MASK),
      BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, workers),
      BPF_STMT(BPF_RET | BPF_A, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) != 0) {
    return ErrnoStatus("attach socket filter to the UDP port");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<FileDescriptor>> BindGroup(int family, uint16_t port, uint32_t workers) {
  // A reuseport group admits any socket of our uid: only an exclusive bind notices a second
  // dataplane on the port.
  RETURN_IF_ERROR(BindOne(family, port, Sharing::kExclusive).status());
  std::vector<FileDescriptor> group;
  for (uint32_t i = 0; i < workers; ++i) {
    ASSIGN_OR_RETURN(FileDescriptor fd, BindOne(family, port, Sharing::kReuseport));
    group.push_back(std::move(fd));
  }
  if (workers > 1) RETURN_IF_ERROR(SteerToOwners(group[0].get(), workers));
  return group;
}

}  // namespace

absl::StatusOr<KernelUdpPort::Bound> KernelUdpPort::Bind(uint16_t port, uint32_t workers, Gro gro) {
  ASSIGN_OR_RETURN(auto v4, BindGroup(AF_INET, port, workers));
  auto v6 = BindGroup(AF_INET6, port, workers);
  if (absl::IsAlreadyExists(v6.status())) return v6.status();
  if (!v6.ok()) spdlog::warn("no IPv6 on the UDP port: {}", Message(v6.status()));
  Bound out;
  for (uint32_t i = 0; i < workers; ++i) {
    Sockets& sockets = out.workers.emplace_back();
    sockets.v4 = std::move(v4[i]);
    if (v6.ok()) sockets.v6 = std::move((*v6)[i]);
    if (gro == Gro::kOn) out.gro.Update(EnableGro(sockets));
  }
  return out;
}

}  // namespace omni
