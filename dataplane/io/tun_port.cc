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
    case Offload::Kind::kUnknown:
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

unsigned FlagsOf(const KernelTunPort::Offloads& offloads) {
  // Checksums are finished while a packet is cut or copied: leaving them open costs nothing.
  unsigned flags = TUN_F_CSUM;
  if (offloads.tso) flags |= TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  if (offloads.uso) flags |= TUN_F_USO4 | TUN_F_USO6;
  return flags;
}

// Turns on what the kernel has of `wanted`, best first; gives that.
KernelTunPort::Offloads EnableOffloads(const std::vector<FileDescriptor>& queues,
                                       const KernelTunPort::Offloads& wanted) {
  using Offloads = KernelTunPort::Offloads;
  const std::array<Offloads, 3> tries = {wanted, Offloads{.tso = wanted.tso, .uso = false},
                                         Offloads{.tso = false, .uso = wanted.uso}};
  for (const Offloads& offloads : tries) {
    const unsigned long flags = FlagsOf(offloads);
    if (std::ranges::all_of(queues, [&](const FileDescriptor& queue) {
          return ioctl(queue.get(), TUNSETOFFLOAD, flags) == 0;
        })) {
      return offloads;
    }
  }
  return {.tso = false, .uso = false};
}

}  // namespace

absl::StatusOr<KernelTunPort::Device> KernelTunPort::Open(const std::string& name, uint32_t workers,
                                                          Offloads wanted) {
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
  device.offloads = EnableOffloads(device.queues, wanted);
  return device;
}

KernelTunPort::KernelTunPort(FileDescriptor queue, Coalescer::Kinds joins)
    : queue_(std::move(queue)), buffer_(kVirtioHeader + kMaxInnerPacket + 1), joins_(joins) {}

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
    case VirtioHeader::kGsoNone:
      break;
    default:  // nobody asked for it
      offload.kind = Offload::Kind::kUnknown;
      break;
  }
  return packet;
}

void KernelTunPort::Write(std::span<const std::span<uint8_t>> packets, DropCounters& drops) {
  const Coalescer::Kinds kinds = {.tcp = joins_.tcp && tcp_.MayTry(),
                                  .udp = joins_.udp && udp_.MayTry()};
  for (; !packets.empty();) {
    const auto batch = packets.first(std::min(packets.size(), Coalescer::kMaxPackets));
    packets = packets.subspan(batch.size());
    for (const Coalescer::Group& group : coalescer_.Coalesce(batch, kinds)) {
      if (group.packets == 1) {
        WriteOne(group.first, drops);
      } else {
        WriteGroup(group, drops);
      }
    }
  }
}

bool KernelTunPort::WriteOne(std::span<uint8_t> packet, DropCounters& drops) {
  // SAFETY: the contract of Write() gives kHeadroom writable bytes in front.
  uint8_t* start = packet.data() - kVirtioHeader;
  std::memset(start, 0, kVirtioHeader);
  if (write(queue_.get(), start, packet.size() + kVirtioHeader) >= 0) return true;
  drops.Count(ReasonOf(errno));
  return false;
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
  OffloadBackoff& backoff = group.offload.kind == Offload::Kind::kUdp ? udp_ : tcp_;
  if (writev(queue_.get(), vectors.data(), count) >= 0) return backoff.OnTaken();
  const int error = errno;
  const DropReason reason = ReasonOf(error);
  if (reason == DropReason::rx_tun_full) return drops.Count(reason, group.packets);
  if (WriteApart(group, drops) > 0) backoff.OnRefused(error);
}

uint32_t KernelTunPort::WriteApart(const Coalescer::Group& group, DropCounters& drops) {
  coalescer_.Restore(group);
  uint32_t written = WriteOne(group.first, drops) ? 1 : 0;
  for (uint32_t item = coalescer_.FirstPiece(group); item != Coalescer::kEnd;
       item = coalescer_.NextPiece(item)) {
    written += WriteOne(coalescer_.Packet(item), drops) ? 1 : 0;
  }
  return written;
}

}  // namespace omni
