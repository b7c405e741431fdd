// SPDX-License-Identifier: Apache-2.0
// OffloadBackoff: whether a port uses an offload that the kernel may refuse. Some refusals in a row
// make a pause, counted in uses that go without; each pause that ends in a refusal is followed by
// one twice as long, and one success ends it all. Not for good: what the kernel refuses depends on
// the device that the route leads to, and routes change. Used by the port's worker; the accessors
// may be called from any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "dataplane/core/drop.h"

namespace omni {

class OffloadBackoff {
 public:
  // LIMIT: one refusal may be the packet's own fault; three in a row are the device's.
  static constexpr uint32_t kRefusalsBeforePause = 3;
  // LIMIT: a try costs one refused system call, a pause of 65,536 uses some seconds of full load:
  // a device that never takes it costs nothing that can be measured, one that does again is noticed
  // soon.
  static constexpr uint32_t kFirstPause = 64;
  static constexpr uint32_t kLongestPause = 65'536;

  // Whether this use may try. Call once per use.
  bool MayTry() {
    if (left_ == 0) return true;
    --left_;
    return false;
  }
  void OnTaken() {
    if (in_a_row_ == 0) return;
    in_a_row_ = 0;
    pause_ = kFirstPause;
    pausing_.store(false, std::memory_order_relaxed);
  }
  void OnRefused(int error) {
    refusals_.Add(1);
    last_error_.store(error, std::memory_order_relaxed);
    if (++in_a_row_ < kRefusalsBeforePause) return;
    left_ = pause_;
    pause_ = std::min(pause_ * 2, kLongestPause);
    pausing_.store(true, std::memory_order_relaxed);
  }

  uint64_t refusals() const { return refusals_.value(); }
  int last_error() const { return last_error_.load(std::memory_order_relaxed); }
  bool is_pausing() const { return pausing_.load(std::memory_order_relaxed); }

 private:
  uint32_t left_ = 0;  // of the pause under way
  uint32_t pause_ = kFirstPause;
  uint32_t in_a_row_ = 0;
  Counter64 refusals_;
  // ORDER: relaxed; written by the worker, read for display.
  std::atomic<int> last_error_ = 0;
  std::atomic<bool> pausing_ = false;
};

}  // namespace omni
