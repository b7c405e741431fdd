// SPDX-License-Identifier: Apache-2.0
// UDP GSO and GRO between two sockets on the loopback interface, as the ports use them.
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <memory>
#include <vector>

#include "common/status.h"
#include "dataplane/io/udp_port.h"
#include "dataplane/io/virtio_net.h"
#include "dataplane/setup/offload_check.h"
#include "dataplane/setup/probe_packet.h"

namespace omni {
namespace {

// LIMIT: loopback delivers before the sender's system call returns; this is for a firewall that
// drops what it was sent.
constexpr int kPatienceMs = 50;

struct Ends {
  std::unique_ptr<KernelUdpPort> sender;
  std::unique_ptr<KernelUdpPort> receiver;
  Endpoint to;
};

// A socket on the loopback interface, on a port of the kernel's choice.
absl::StatusOr<FileDescriptor> BindLoopback(const IpAddress& address) {
  const int family = address.is_v4() ? AF_INET : AF_INET6;
  FileDescriptor fd(socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.is_open()) return absl::UnavailableError("no socket of this family");
  sockaddr_storage storage{};
  const socklen_t length = Endpoint{address, 0}.ToSockaddr(&storage);
  // SAFETY: sockaddr_storage is made to be seen as any sockaddr.
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), length) != 0) {
    return absl::UnavailableError("no loopback address of this family");
  }
  return fd;
}

Endpoint EndpointOf(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  // SAFETY: as above.
  auto* raw = reinterpret_cast<sockaddr*>(&storage);
  if (getsockname(fd, raw, &length) != 0) return {};
  return Endpoint::FromSockaddr(raw).value_or(Endpoint{});
}

KernelUdpPort::Sockets SocketsOf(FileDescriptor fd, const IpAddress& address) {
  KernelUdpPort::Sockets out;
  (address.is_v4() ? out.v4 : out.v6) = std::move(fd);
  return out;
}

absl::StatusOr<Ends> Connect(const char* loopback, KernelUdpPort::Gro gro) {
  const IpAddress address = *IpAddress::Parse(loopback);
  ASSIGN_OR_RETURN(FileDescriptor out, BindLoopback(address));
  ASSIGN_OR_RETURN(FileDescriptor in, BindLoopback(address));
  const int one = 1;
  if (gro == KernelUdpPort::Gro::kOn &&
      setsockopt(in.get(), SOL_UDP, UDP_GRO, &one, sizeof(one)) != 0) {
    return absl::UnimplementedError(fmt::format("UDP_GRO: {}", std::strerror(errno)));
  }
  const Endpoint to = EndpointOf(in.get());
  using Gso = KernelUdpPort::Gso;
  return Ends{
      .sender = std::make_unique<KernelUdpPort>(SocketsOf(std::move(out), address), Gso::kOn),
      .receiver = std::make_unique<KernelUdpPort>(SocketsOf(std::move(in), address), Gso::kOff),
      .to = to};
}

// Waits for more, and appends what came, datagram by datagram.
bool ReceiveMore(KernelUdpPort& port, std::vector<Bytes>& out) {
  std::vector<pollfd> pollers;
  for (const int fd : port.fds()) pollers.push_back({fd, POLLIN, 0});
  if (poll(pollers.data(), pollers.size(), kPatienceMs) <= 0) return false;
  std::array<ReceivedDatagram, 8> batch;
  DropCounters drops;
  const size_t count = port.Receive(batch, drops);
  for (const ReceivedDatagram& message : std::span(batch).first(count)) {
    if (message.segment_bytes == 0) return false;
    std::ranges::copy(CutBytes(message.bytes, message.segment_bytes), std::back_inserter(out));
  }
  return count > 0;
}

// A train of full datagrams and a short one, to a receiver that takes them merged or not.
absl::Status TryTrain(const char* loopback, KernelUdpPort::Gro gro) {
  constexpr uint32_t kSegment = 1200;
  constexpr uint32_t kBytes = 20 * kSegment + 333;
  ASSIGN_OR_RETURN(Ends ends, Connect(loopback, gro));
  Bytes sent = ProbeBytes(kBytes);
  const std::vector<Bytes> expected = CutBytes(sent, kSegment);
  const Train train{.path = {.remote = ends.to},
                    .data = sent.data(),
                    .bytes = kBytes,
                    .segment_bytes = kSegment,
                    .segments = static_cast<uint32_t>(expected.size())};
  DropCounters drops;
  ends.sender->Send({&train, 1}, drops);
  const OffloadBackoff& gso = ends.sender->gso();
  if (gso.refusals() > 0) {
    return absl::InternalError(fmt::format("UDP_SEGMENT: {}", std::strerror(gso.last_error())));
  }
  std::vector<Bytes> got;
  while (got.size() < expected.size()) {
    if (ReceiveMore(*ends.receiver, got)) continue;
    if (got.empty()) return absl::UnavailableError("nothing arrives over the loopback interface");
    return absl::DataLossError("a part of a train did not arrive");
  }
  if (got != expected) return absl::DataLossError("a train arrived changed");
  return absl::OkStatus();
}

}  // namespace

void CheckUdpOffloads(OffloadFindings& findings) {
  CheckResult gso;
  CheckResult gro;
  for (const char* loopback : {"127.0.0.1", "::1"}) {
    const absl::Status sent = TryTrain(loopback, KernelUdpPort::Gro::kOff);
    gso.Add(sent);
    const absl::Status merged = TryTrain(loopback, KernelUdpPort::Gro::kOn);
    // Without trains there is nothing that could be merged here.
    const bool gso_alone = !sent.ok() && !absl::IsUnimplemented(merged);
    gro.Add(gso_alone ? absl::UnavailableError("no train to merge") : merged);
  }
  findings[KernelOffload::kUdpGso] = gso.Finding();
  findings[KernelOffload::kUdpGro] = gro.Finding();
}

}  // namespace omni
