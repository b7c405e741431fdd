// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/xsk_socket.h"

#include <fmt/format.h>
#include <linux/if_xdp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "common/status.h"

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

namespace omni {
namespace {

// LIMIT: rounds of asking the kernel to send what is queued; in copy mode it takes 32 frames a
// call.
constexpr int kFlushRounds = 256;
// LIMIT: how long a worker waits for a device that takes nothing, as with a full socket buffer.
constexpr int kSendWaitMs = 5;
// LIMIT: how long the kernel may look at a device's queue for one call that finds it empty, and how
// many frames it takes then (net/core/dev.c's own budget).
constexpr int kBusyPollUs = 20;
constexpr int kBusyPollBudget = 64;
// LIMIT: in copy mode, frames on their way are accounted to the socket as 2 KiB each and more.
constexpr int kSendBufferBytes = 16 << 20;

// LIMIT: a burst of 2,048 frames each way, 16 MiB a socket; less where no more memory may be
// locked.
constexpr std::array<uint32_t, 2> kEntries = {2048, 128};

constexpr size_t FrameBytes(uint32_t entries) {
  return size_t{2} * entries * XskSocket::kFrameBytes;
}

constexpr uint64_t FrameOf(uint64_t address) {
  return address / XskSocket::kFrameBytes * XskSocket::kFrameBytes;
}

bool MeansGone(int error) { return error == ENETDOWN || error == ENXIO || error == ENODEV; }

}  // namespace

bool XskSocket::Ring::needs_wakeup() const {
  // ORDER: relaxed; the ring's own index was published before.
  return (std::atomic_ref(*flags_at).load(std::memory_order_relaxed) & XDP_RING_NEED_WAKEUP) != 0;
}

absl::StatusOr<std::unique_ptr<XskSocket>> XskSocket::Open() {
  FileDescriptor fd(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (fd.is_open()) return std::unique_ptr<XskSocket>(new XskSocket(std::move(fd)));
  if (errno == EAFNOSUPPORT) return absl::UnimplementedError("the kernel has no AF_XDP");
  return ErrnoStatus("open AF_XDP socket");
}

absl::Status XskSocket::Bind(const Where& where, Copying copying) {
  // What an earlier try has set up stays.
  if (!set_up_) RETURN_IF_ERROR(SetUp());
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  // Without either flag the kernel takes what it can.
  address.sxdp_flags =
      static_cast<uint16_t>(XDP_USE_NEED_WAKEUP | (copying == Copying::kNever ? XDP_ZEROCOPY : 0));
  address.sxdp_ifindex = where.interface;
  address.sxdp_queue_id = where.queue;
  // SAFETY: the socket interface takes any address as a sockaddr.
  if (bind(fd(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    xdp_options options{};
    socklen_t bytes = sizeof(options);
    const bool told = getsockopt(fd(), SOL_XDP, XDP_OPTIONS, &options, &bytes) == 0;
    copies_ = !told || (options.flags & XDP_OPTIONS_ZEROCOPY) == 0;
    where_ = where;
    return absl::OkStatus();
  }
  const std::string what =
      fmt::format("bind AF_XDP to queue {} of interface {}", where.queue, where.interface);
  if (errno == EOPNOTSUPP || errno == EINVAL) {
    return absl::UnimplementedError(what + (copying == Copying::kNever
                                                ? ": the driver cannot without copying"
                                                : ": the driver cannot"));
  }
  if (errno == EBUSY) return absl::UnavailableError(what + ": another socket has it");
  return ErrnoStatus(what);
}

absl::Status XskSocket::RegisterFrames() {
  for (const uint32_t entries : kEntries) {
    const size_t bytes = FrameBytes(entries);
    void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return ErrnoStatus("allocate frames of an AF_XDP socket");
    xdp_umem_reg umem{};
    // SAFETY: the kernel takes the address as a number.
    umem.addr = reinterpret_cast<uint64_t>(at);
    umem.len = bytes;
    umem.chunk_size = kFrameBytes;
    if (setsockopt(fd(), SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)) == 0) {
      entries_ = entries;
      frames_ = static_cast<uint8_t*>(at);
      return absl::OkStatus();
    }
    const int error = errno;
    munmap(at, bytes);
    if (error != ENOBUFS) return ErrnoStatus("register frames of an AF_XDP socket", error);
  }
  return absl::ResourceExhaustedError(
      "register frames of an AF_XDP socket: the limit of locked memory is too low");
}

absl::Status XskSocket::SetUp() {
  RETURN_IF_ERROR(RegisterFrames());
  (void)setsockopt(fd(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBufferBytes, sizeof(kSendBufferBytes));
  RETURN_IF_ERROR(MapRing(fill_, XDP_UMEM_FILL_RING, offsetof(xdp_mmap_offsets, fr),
                          XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t)));
  RETURN_IF_ERROR(MapRing(completion_, XDP_UMEM_COMPLETION_RING, offsetof(xdp_mmap_offsets, cr),
                          XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(uint64_t)));
  RETURN_IF_ERROR(MapRing(rx_, XDP_RX_RING, offsetof(xdp_mmap_offsets, rx), XDP_PGOFF_RX_RING,
                          sizeof(xdp_desc)));
  RETURN_IF_ERROR(MapRing(tx_, XDP_TX_RING, offsetof(xdp_mmap_offsets, tx), XDP_PGOFF_TX_RING,
                          sizeof(xdp_desc)));
  held_.reserve(entries_);
  free_.reserve(entries_);
  for (uint32_t i = 0; i < entries_; ++i) {
    held_.push_back(uint64_t{i} * kFrameBytes);
    free_.push_back(uint64_t{entries_ + i} * kFrameBytes);
  }
  GiveBack();
  set_up_ = true;
  return absl::OkStatus();
}

absl::Status XskSocket::MapRing(Ring& ring, int size_option, size_t offset_of_ring,
                                uint64_t page_offset, size_t entry_bytes) {
  if (setsockopt(fd(), SOL_XDP, size_option, &entries_, sizeof(entries_)) != 0) {
    return ErrnoStatus("size a ring of an AF_XDP socket");
  }
  xdp_mmap_offsets all{};
  socklen_t bytes = sizeof(all);
  if (getsockopt(fd(), SOL_XDP, XDP_MMAP_OFFSETS, &all, &bytes) != 0 || bytes != sizeof(all)) {
    return ErrnoStatus("ask for the rings of an AF_XDP socket");
  }
  // SAFETY: the four parts of xdp_mmap_offsets are of this type.
  const auto& offsets = *reinterpret_cast<const xdp_ring_offset*>(
      reinterpret_cast<const uint8_t*>(&all) + offset_of_ring);
  ring.memory_bytes = offsets.desc + entries_ * entry_bytes;
  void* at = mmap(nullptr, ring.memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                  fd(), static_cast<off_t>(page_offset));
  if (at == MAP_FAILED) return ErrnoStatus("map a ring of an AF_XDP socket");
  ring.memory = at;
  auto* base = static_cast<uint8_t*>(at);
  // SAFETY: the kernel aligns what the offsets name.
  ring.producer_at = reinterpret_cast<uint32_t*>(base + offsets.producer);
  ring.consumer_at = reinterpret_cast<uint32_t*>(base + offsets.consumer);
  ring.flags_at = reinterpret_cast<uint32_t*>(base + offsets.flags);
  ring.entries = base + offsets.desc;
  return absl::OkStatus();
}

XskSocket::~XskSocket() {
  for (const Ring* ring : {&fill_, &completion_, &rx_, &tx_}) {
    if (ring->memory != nullptr) munmap(ring->memory, ring->memory_bytes);
  }
  // The kernel holds the pages for as long as the socket lives.
  if (frames_ != nullptr) munmap(frames_, FrameBytes(entries_));
}

// ORDER: in all rings, whoever fills an entry publishes it by a release of the producer, and
// whoever reads it has acquired the producer; likewise the consumer for entries that are free
// again.

void XskSocket::SetPolling(Polling polling) {
  const bool is_busy = polling == Polling::kBusy;
  const auto set = [this](int option, int value) {
    return setsockopt(fd(), SOL_SOCKET, option, &value, sizeof(value)) == 0;
  };
  const bool done = set(SO_PREFER_BUSY_POLL, is_busy ? 1 : 0) &&
                    set(SO_BUSY_POLL, is_busy ? kBusyPollUs : 0) &&
                    set(SO_BUSY_POLL_BUDGET, kBusyPollBudget);
  // ORDER: relaxed; a call sooner or later does not matter.
  drives_.store(is_busy && done, std::memory_order_relaxed);
}

XskSocket::Losses XskSocket::losses() const {
  xdp_statistics all{};
  socklen_t bytes = sizeof(all);
  if (getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &all, &bytes) != 0) return {};
  return {.no_frame = all.rx_fill_ring_empty_descs, .ring_full = all.rx_ring_full};
}

size_t XskSocket::Receive(std::span<std::span<uint8_t>> out) {
  GiveBack();
  if (drives_.load(std::memory_order_relaxed)) {
    (void)recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  }
  const uint32_t consumed = rx_.consumer().load(std::memory_order_relaxed);
  const uint32_t ready = rx_.producer().load(std::memory_order_acquire) - consumed;
  const auto count = static_cast<uint32_t>(std::min<size_t>({ready, entries_, out.size()}));
  const auto* entries = static_cast<const xdp_desc*>(rx_.entries);
  for (uint32_t i = 0; i < count; ++i) {
    const xdp_desc& entry = entries[(consumed + i) % entries_];
    out[i] = {frames_ + entry.addr, entry.len};
    held_.push_back(FrameOf(entry.addr));
  }
  if (count > 0) rx_.consumer().store(consumed + count, std::memory_order_release);
  return count;
}

// There is always room: the ring has as many entries as there are frames to receive into.
void XskSocket::GiveBack() {
  if (held_.empty()) return;
  const uint32_t produced = fill_.producer().load(std::memory_order_relaxed);
  auto* entries = static_cast<uint64_t*>(fill_.entries);
  for (uint32_t i = 0; i < held_.size(); ++i) entries[(produced + i) % entries_] = held_[i];
  fill_.producer().store(produced + static_cast<uint32_t>(held_.size()), std::memory_order_release);
  held_.clear();
  if (fill_.needs_wakeup()) (void)recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
}

std::span<uint8_t> XskSocket::Reserve() {
  if (free_.empty()) TakeSent();
  if (free_.empty()) {
    Flush();
    TakeSent();
  }
  if (free_.empty()) return {};
  return {frames_ + free_.back(), kLongest};
}

void XskSocket::Commit(uint32_t bytes) {
  auto* entries = static_cast<xdp_desc*>(tx_.entries);
  entries[queued_ % entries_] = {.addr = free_.back(), .len = bytes, .options = 0};
  free_.pop_back();
  ++queued_;
}

void XskSocket::TakeSent() {
  const uint32_t consumed = completion_.consumer().load(std::memory_order_relaxed);
  const uint32_t ready = completion_.producer().load(std::memory_order_acquire) - consumed;
  const auto* entries = static_cast<const uint64_t*>(completion_.entries);
  for (uint32_t i = 0; i < ready; ++i) {
    free_.push_back(FrameOf(entries[(consumed + i) % entries_]));
  }
  if (ready > 0) completion_.consumer().store(consumed + ready, std::memory_order_release);
}

void XskSocket::Flush() {
  tx_.producer().store(queued_, std::memory_order_release);
  for (int round = 0; round < kFlushRounds; ++round) {
    if (tx_.consumer().load(std::memory_order_acquire) == queued_ || !tx_.needs_wakeup()) return;
    if (sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) >= 0) continue;
    if (MeansGone(errno)) return broken_.store(true, std::memory_order_relaxed);
    // EAGAIN: 32 frames were taken, or none; ENOBUFS, EBUSY: the device is full.
    if (round % 128 == 127) {
      pollfd poller = {fd(), POLLOUT, 0};
      (void)poll(&poller, 1, kSendWaitMs);
    }
  }
}

}  // namespace omni
