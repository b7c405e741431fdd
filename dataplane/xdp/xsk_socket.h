// SPDX-License-Identifier: Apache-2.0
// XskSocket: one AF_XDP socket on one queue of an interface, with frames of its own (UMEM): half of
// them to receive into, half to send from. A frame never goes from one socket to another, so
// sharing them would gain nothing. Bound and destroyed by any one thread; used by the worker that
// owns it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/paths.h"
#include "dataplane/io/file_descriptor.h"

namespace omni {

class XskSocket {
 public:
  // LIMIT: frames of a page; what is longer goes to the UDP socket (the program at XDP sees to
  // that).
  static constexpr uint32_t kFrameBytes = 4096;
  // LIMIT: the kernel keeps 256 bytes in front of each frame (XDP_PACKET_HEADROOM).
  static constexpr uint32_t kLongest = kFrameBytes - 256;

  enum class Copying : uint8_t { kNever, kIfNeeded };
  struct Where {
    uint32_t interface = 0;
    uint32_t queue = 0;

    friend bool operator==(const Where&, const Where&) = default;
  };

  // Needs CAP_NET_RAW; Bind() needs nothing.
  static absl::StatusOr<std::unique_ptr<XskSocket>> Open();
  // Once; after an error it may be tried again, there or elsewhere. UNIMPLEMENTED: the driver
  // cannot bind it without copying. UNAVAILABLE: the queue is taken, for a moment perhaps, as just
  // after another socket on it was closed.
  absl::Status Bind(const Where& where, Copying copying);
  ~XskSocket();
  XskSocket(const XskSocket&) = delete;
  XskSocket& operator=(const XskSocket&) = delete;

  int fd() const { return fd_.get(); }
  const Where& where() const { return where_; }
  // A socket that could not be set up cannot be bound, now or later.
  bool is_spoilt() const { return frames_ != nullptr && !set_up_; }
  // Whether the kernel copies each frame.
  bool copies() const { return copies_; }
  // The kernel refused to go on: the interface is down or gone. From any thread.
  bool is_broken() const { return broken_.load(std::memory_order_relaxed); }

  // Busy: who receives drives the device's queue with each call, where the kernel lets it (Linux
  // 5.11 and CAP_NET_ADMIN), instead of waiting for an interrupt. From any thread.
  void SetPolling(Polling polling);

  // What the kernel did not bring here: for want of a frame to fill, for want of room in the ring.
  struct Losses {
    uint64_t no_frame = 0;
    uint64_t ring_full = 0;
  };
  Losses losses() const;

  // Fills the front of `out` with frames and gives the number; valid until the next call.
  size_t Receive(std::span<std::span<uint8_t>> out);

  // The next frame to send, of kLongest bytes; empty when all are under way.
  std::span<uint8_t> Reserve();
  // Queues the first `bytes` of what Reserve() gave.
  void Commit(uint32_t bytes);
  // Has the kernel send all that is queued.
  void Flush();

 private:
  struct Ring {
    std::atomic_ref<uint32_t> producer() const { return std::atomic_ref(*producer_at); }
    std::atomic_ref<uint32_t> consumer() const { return std::atomic_ref(*consumer_at); }
    bool needs_wakeup() const;

    uint32_t* producer_at = nullptr;
    uint32_t* consumer_at = nullptr;
    uint32_t* flags_at = nullptr;
    void* entries = nullptr;
    void* memory = nullptr;
    size_t memory_bytes = 0;
  };
  explicit XskSocket(FileDescriptor fd) : fd_(std::move(fd)) {}
  absl::Status SetUp();
  absl::Status RegisterFrames();
  absl::Status MapRing(Ring& ring, int size_option, size_t offset_of_ring, uint64_t page_offset,
                       size_t entry_bytes);
  void GiveBack();
  void TakeSent();

  FileDescriptor fd_;
  Where where_;
  bool set_up_ = false;
  bool copies_ = true;
  uint32_t entries_ = 0;  // of each ring, and frames each way; a power of two
  uint8_t* frames_ = nullptr;
  Ring fill_, completion_, rx_, tx_;
  std::vector<uint64_t> held_;  // received frames that the caller looks at
  std::vector<uint64_t> free_;  // to send from
  uint32_t queued_ = 0;         // producer of the sending ring, ahead of what the kernel was told
  std::atomic<bool> broken_ = false;
  std::atomic<bool> drives_ = false;  // the device's queue, when it receives
};

}  // namespace omni
