// SPDX-License-Identifier: Apache-2.0
// DropReason: why a packet ended other than delivered. The list stands in bpf/abi.h; this gives it
// C++ names, and holds the counters of one worker: written by that worker alone, read by anybody.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "bpf/abi.h"

namespace omni {

enum class DropReason : uint8_t {
#define OMNI_DROP_CLASS(name, text) name,
  OMNI_DROP_REASONS(OMNI_DROP_CLASS)
#undef OMNI_DROP_CLASS
};

inline constexpr size_t kDropReasons = OMNI_DROP_COUNT;

struct DropReasonInfo {
  std::string_view name;
  std::string_view help;
};
inline constexpr std::array<DropReasonInfo, kDropReasons> kDropReasonInfo = {{
#define OMNI_DROP_INFO(name, text) {#name, text},
    OMNI_DROP_REASONS(OMNI_DROP_INFO)
#undef OMNI_DROP_INFO
}};

// A counter with one writer. ORDER: relaxed everywhere; a reader wants a recent value, not a
// consistent set.
class Counter64 {
 public:
  void Add(uint64_t n) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void Set(uint64_t n) { value_.store(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

// Hears of drops as they are counted, on the thread that counts.
class DropObserver {
 public:
  virtual ~DropObserver() = default;
  virtual void OnDrop(DropReason reason, uint64_t packets) = 0;
};

class DropCounters {
 public:
  void Count(DropReason reason, uint64_t packets = 1) {
    counters_[static_cast<size_t>(reason)].Add(packets);
    if (observer_ != nullptr && packets > 0) observer_->OnDrop(reason, packets);
  }
  // Null: nobody. The owner's.
  void Observe(DropObserver* observer) { observer_ = observer; }
  uint64_t value(DropReason reason) const { return counters_[static_cast<size_t>(reason)].value(); }

 private:
  std::array<Counter64, kDropReasons> counters_;
  DropObserver* observer_ = nullptr;
};

}  // namespace omni
