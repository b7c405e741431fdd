// SPDX-License-Identifier: Apache-2.0
// ReplayWindow: which counters of a channel have been seen (RFC 6479: a ring of words, of which
// whole words are cleared as the window moves). Owned by the worker that owns the channel. Ask only
// after the tag was found good: an unauthenticated packet must not move the window.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "bpf/abi.h"

namespace omni {

class ReplayWindow {
 public:
  enum class Verdict : uint8_t {
    kNewest,   // above every counter before
    kInOrder,  // inside the window and not seen before
    kReplay,   // seen, or older than the window
  };

  // Judges `counter` and remembers it.
  Verdict Accept(uint64_t counter) {
    // `next_` is one above the highest counter accepted, so that 0 means "none yet".
    const bool newest = counter >= next_;
    if (newest) {
      ClearUpTo(counter);
      next_ = counter + 1;
    } else if (next_ - counter > OMNI_REPLAY_WINDOW) {
      return Verdict::kReplay;
    }
    uint64_t& word = words_[(counter / kBits) % kWords];
    const uint64_t bit = uint64_t{1} << (counter % kBits);
    if ((word & bit) != 0) return Verdict::kReplay;
    word |= bit;
    return newest ? Verdict::kNewest : Verdict::kInOrder;
  }

 private:
  static constexpr uint64_t kBits = 64;
  // One word more than the window, so that clearing whole words never forgets a counter inside it.
  static constexpr uint64_t kWords = OMNI_REPLAY_WINDOW / kBits + 1;

  // Clears the words that `counter` opens.
  void ClearUpTo(uint64_t counter) {
    if (next_ == 0) return;
    const uint64_t from = (next_ - 1) / kBits;
    const uint64_t steps = std::min(counter / kBits - from, kWords);
    for (uint64_t i = 1; i <= steps; ++i) words_[(from + i) % kWords] = 0;
  }

  uint64_t next_ = 0;
  std::array<uint64_t, kWords> words_{};
};

}  // namespace omni
