// SPDX-License-Identifier: Apache-2.0
// LossWindow: how many of the latest echoes to a peer, over the present path, were not answered.
// Told of each echo what became of it; has no clock. Small, as every known peer has one. Owned by
// a Peer.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "common/clock.h"

namespace omni {

class LossWindow {
 public:
  enum class Outcome : uint8_t { kAnswered, kLost };
  struct Loss {
    uint32_t samples = 0;  // 0: nothing is known
    uint32_t lost = 0;
    double percent() const { return samples == 0 ? 0 : 100.0 * lost / samples; }
  };

  void Add(Outcome outcome, Instant now) {
    if (now - last_ > kMaxGap) Clear();
    last_ = now;
    lost_ = lost_ << 1U | (outcome == Outcome::kLost ? 1U : 0U);
    samples_ = std::min(samples_ + 1, kSamples);
  }
  // The path is another: what was seen of the former says nothing.
  void Clear() { samples_ = 0; }

  Loss Get(Instant now) const {
    if (samples_ == 0 || now - last_ > kMaxGap) return {};
    const uint64_t counted = lost_ << (kSamples - samples_);
    return {.samples = samples_, .lost = static_cast<uint32_t>(std::popcount(counted))};
  }

 private:
  // LIMIT: the bits of a word. With one echo in 25 s, as the search for better paths sends them,
  // these are 27 minutes.
  static constexpr uint32_t kSamples = 64;
  // LIMIT: a tunnel that rested so long may find another world.
  static constexpr Duration kMaxGap = 300s;

  Instant last_;
  uint64_t lost_ = 0;  // the newest is the lowest bit
  uint32_t samples_ = 0;
};

}  // namespace omni
