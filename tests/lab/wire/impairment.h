// SPDX-License-Identifier: Apache-2.0
// What goes wrong on a cable: Impairment is what was asked for, OneWay does it to the frames of one
// direction. Frames go in with Push() and come out of Pop() when their time has come. Pure: time is
// an argument, chance comes from a seed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"

namespace omni {

struct Impairment {
  // Probabilities, 0-1.
  double loss = 0;
  double duplicate = 0;
  double reorder = 0;  // the frame skips the delay, and so overtakes others
  double corrupt = 0;  // one bit behind the Ethernet header is flipped
  Duration delay{};
  Duration jitter{};      // added to the delay, 0 to this, without reordering
  double rate_mbit = 0;   // 0: without limit
  uint32_t queue = 1000;  // frames that may wait; more are lost
  uint32_t mtu = 0;       // larger IP packets are lost without a word (a black hole); 0: none are

  // `words` such as "loss=0.01 delay_ms=20 jitter_ms=5 reorder=0.1 duplicate=0.1 corrupt=0.01
  // rate_mbit=10 queue=100 mtu=1280"; what is not named is off. INVALID_ARGUMENT names the word.
  static absl::StatusOr<Impairment> Parse(std::string_view words);
};

class OneWay {
 public:
  using Frame = std::vector<uint8_t>;

  explicit OneWay(uint64_t seed) : random_(seed) {}

  // For frames from now on.
  void Set(const Impairment& impairment) { impairment_ = impairment; }
  void Push(std::span<const uint8_t> frame, Instant now);
  // The next frame that is due. Empty when none is.
  std::optional<Frame> Pop(Instant now);
  // When the next frame is due. Empty when none waits.
  std::optional<Instant> next() const;

 private:
  bool Happens(double probability);
  // When a frame that arrives now comes out.
  Instant Due(size_t bytes, Instant now);
  void Corrupt(Frame& frame);

  Impairment impairment_;
  std::mt19937_64 random_;
  std::multimap<Instant, Frame> waiting_;  // equal times keep the order of insertion
  Instant busy_until_;                     // the sender of a limited rate
  Instant last_due_;
};

}  // namespace omni
