// SPDX-License-Identifier: Apache-2.0
#include "dataplane/worker/handover_ring.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace omni {

bool HandoverRing::Push(std::span<const uint8_t> datagram, const UdpPath& path,
                        uint8_t traffic_class) {
  static_assert(std::is_trivially_copyable_v<Head>);
  const uint32_t needed = kHeadBytes + Round(datagram.size());
  if (needed > kBytes / 2) return false;
  uint64_t written = written_.load(std::memory_order_relaxed);
  const uint64_t read = read_.load(std::memory_order_acquire);
  uint32_t at = static_cast<uint32_t>(written % kBytes);
  const uint32_t to_end = kBytes - at;
  const uint32_t skip = to_end < needed ? to_end : 0;
  if (written + skip + needed - read > kBytes) return false;
  if (skip > 0) {
    const Head wrap{.size = kWrap};
    std::memcpy(&data_[at], &wrap.size, sizeof(wrap.size));
    written += skip;
    at = 0;
  }
  const Head head{static_cast<uint32_t>(datagram.size()), traffic_class, path};
  std::memcpy(&data_[at], &head, sizeof(head));
  std::ranges::copy(datagram, &data_[at + kHeadBytes]);
  written_.store(written + needed, std::memory_order_release);
  return true;
}

std::optional<HandoverRing::Record> HandoverRing::Front() {
  uint64_t read = read_.load(std::memory_order_relaxed);
  if (read == written_.load(std::memory_order_acquire)) return std::nullopt;
  auto at = static_cast<uint32_t>(read % kBytes);
  uint32_t size = 0;
  std::memcpy(&size, &data_[at], sizeof(size));
  if (size == kWrap) {
    read += kBytes - at;
    read_.store(read, std::memory_order_release);
    at = 0;
  }
  Head head;
  std::memcpy(static_cast<void*>(&head), &data_[at], sizeof(head));
  front_bytes_ = kHeadBytes + Round(head.size);
  return Record{head.path, head.traffic_class, head.size, {&data_[at + kHeadBytes], head.size}};
}

void HandoverRing::Pop() {
  read_.store(read_.load(std::memory_order_relaxed) + front_bytes_, std::memory_order_release);
}

}  // namespace omni
