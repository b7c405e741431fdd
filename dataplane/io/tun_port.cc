// SPDX-License-Identifier: Apache-2.0
#include "dataplane/io/tun_port.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "common/status.h"
#include "dataplane/io/virtio_net.h"

namespace omni {
namespace {

constexpr char kTunDevice[] = "/dev/net/tun";
constexpr size_t kVirtioHeader = sizeof(VirtioHeader);
static_assert(kVirtioHeader <= TunPort::kHeadroom);

absl::Status TunError(const std::string& name) {
  const int error = errno;
  if (error == EBUSY) {
    return absl::AlreadyExistsError(
        fmt::format("open TUN {}: the device exists and is in use by another process", name));
  }
  if (error == EPERM) {
    return absl::PermissionDeniedError(
        fmt::format("open TUN {}: not permitted; start as root or with CAP_NET_ADMIN", name));
  }
  return ErrnoStatus("open TUN " + name, error);
}

absl::StatusOr<FileDescriptor> OpenQueue(const std::string& name) {
  FileDescriptor fd(open(kTunDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!fd.is_open()) return ErrnoStatus(fmt::format("open {}", kTunDevice));
  ifreq request{};
  request.ifr_flags = static_cast<short>(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
  std::memcpy(request.ifr_name, name.data(), name.size());
  if (ioctl(fd.get(), TUNSETIFF, &request) != 0) return TunError(name);
  return fd;
}

DropReason ReasonOf(int error) {
  const bool full = error == EAGAIN || error == ENOBUFS || error == ENOMEM;
  return full ? DropReason::rx_tun_full : DropReason::rx_tun_error;
}

uint8_t GsoTypeOf(Offload::Kind kind) {
  switch (kind) {
    case Offload::Kind::kNone:
      break;
    case Offload::Kind::kTcp4:
      return VirtioHeader::kGsoTcp4;
    case Offload::Kind::kTcp6:
      return VirtioHeader::kGsoTcp6;
    case Offload::Kind::kUdp:
      return VirtioHeader::kGsoUdpL4;
  }
  return VirtioHeader::kGsoNone;
}

// Turns on what the kernel has, best first.
void EnableOffloads(KernelTunPort::Device& device) {
  constexpr unsigned kTso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  const auto set = [&](unsigned flags) {
    for (const FileDescriptor& queue : device.queues) {
      if (ioctl(queue.get(), TUNSETOFFLOAD, static_cast<unsigned long>(flags)) != 0) return false;
    }
    return true;
  };
  device.uso = set(kTso | TUN_F_USO4 | TUN_F_USO6);
  device.tso = device.uso || set(kTso);
}

}  // namespace

absl::StatusOr<KernelTunPort::Device> KernelTunPort::Open(const std::string& name,
                                                          uint32_t workers) {
  if (name.empty() || name.size() >= IFNAMSIZ || name.find_first_of("/ %") != std::string::npos) {
    return absl::InvalidArgumentError(
        fmt::format("TUN name \"{}\": must have 1-15 characters, no slash, blank or %", name));
  }
  // Opening a multi-queue device that exists would add queues to it, and take packets from whoever
  // runs it.
  if (if_nametoindex(name.c_str()) != 0) {
    return absl::AlreadyExistsError(
        fmt::format("open TUN {}: an interface of this name exists already", name));
  }
  Device device{.name = name};
  for (uint32_t i = 0; i < workers; ++i) {
    ASSIGN_OR_RETURN(FileDescriptor queue, OpenQueue(name));
    device.queues.push_back(std::move(queue));
  }
  EnableOffloads(device);
  return device;
}

KernelTunPort::KernelTunPort(FileDescriptor queue)
    : queue_(std::move(queue)), buffer_(kVirtioHeader + kMaxInnerPacket + 1) {}

std::optional<HostPacket> KernelTunPort::Read() {
  const ssize_t n = read(queue_.get(), buffer_.data(), buffer_.size());
  if (n < static_cast<ssize_t>(kVirtioHeader)) return std::nullopt;
  VirtioHeader header;
  std::memcpy(&header, buffer_.data(), sizeof(header));
  HostPacket packet{
      .bytes = {buffer_.data() + kVirtioHeader, static_cast<size_t>(n) - kVirtioHeader}};
  Offload& offload = packet.offload;
  offload.needs_checksum = (header.flags & VirtioHeader::kNeedsChecksum) != 0;
  offload.checksum_start = header.checksum_start;
  offload.checksum_offset = header.checksum_offset;
  offload.segment_bytes = header.gso_size;
  switch (header.gso_type & ~VirtioHeader::kGsoEcn) {
    case VirtioHeader::kGsoTcp4:
      offload.kind = Offload::Kind::kTcp4;
      break;
    case VirtioHeader::kGsoTcp6:
      offload.kind = Offload::Kind::kTcp6;
      break;
    case VirtioHeader::kGsoUdpL4:
      offload.kind = Offload::Kind::kUdp;
      break;
    default:  // none: nothing else was asked for
      break;
  }
  return packet;
}

void KernelTunPort::Write(std::span<const std::span<uint8_t>> packets, DropCounters& drops) {
  if (!coalesces()) {
    for (const std::span<uint8_t> packet : packets) WriteOne(packet, drops);
    return;
  }
  for (; !packets.empty();) {
    const auto batch = packets.first(std::min(packets.size(), Coalescer::kMaxPackets));
    packets = packets.subspan(batch.size());
    for (const Coalescer::Group& group : coalescer_.Coalesce(batch)) {
      group.packets == 1 ? WriteOne(group.first, drops) : WriteGroup(group, drops);
    }
  }
}

void KernelTunPort::WriteOne(std::span<uint8_t> packet, DropCounters& drops) {
  // SAFETY: the contract of Write() gives kHeadroom writable bytes in front.
  uint8_t* start = packet.data() - kVirtioHeader;
  std::memset(start, 0, kVirtioHeader);
  if (write(queue_.get(), start, packet.size() + kVirtioHeader) < 0) drops.Count(ReasonOf(errno));
}

void KernelTunPort::WriteGroup(const Coalescer::Group& group, DropCounters& drops) {
  VirtioHeader header{.flags = VirtioHeader::kNeedsChecksum,
                      .gso_type = GsoTypeOf(group.offload.kind),
                      .header_length = static_cast<uint16_t>(group.header_bytes),
                      .gso_size = group.offload.segment_bytes,
                      .checksum_start = group.offload.checksum_start,
                      .checksum_offset = group.offload.checksum_offset};
  // SAFETY: as in WriteOne().
  uint8_t* start = group.first.data() - kVirtioHeader;
  std::memcpy(start, &header, kVirtioHeader);
  std::array<iovec, Coalescer::kMaxSegments> vectors;
  vectors[0] = {start, group.first.size() + kVirtioHeader};
  int count = 1;
  for (uint32_t item = coalescer_.FirstPiece(group); item != Coalescer::kEnd;
       item = coalescer_.NextPiece(item)) {
    const auto piece = coalescer_.Piece(item);
    vectors[static_cast<size_t>(count++)] = {piece.data(), piece.size()};
  }
  if (writev(queue_.get(), vectors.data(), count) >= 0) return;
  const DropReason reason = ReasonOf(errno);
  if (reason == DropReason::rx_tun_full) return drops.Count(reason, group.packets);
  // This kernel does not take what it should: packet by packet from now on, and none is lost.
  coalesce_.store(false, std::memory_order_relaxed);
  coalescer_.Restore(group);
  WriteOne(group.first, drops);
  for (uint32_t item = coalescer_.FirstPiece(group); item != Coalescer::kEnd;
       item = coalescer_.NextPiece(item)) {
    WriteOne(coalescer_.Packet(item), drops);
  }
}

}  // namespace omni
