// SPDX-License-Identifier: Apache-2.0
// ReplayWindow: which counters of a channel have been seen (RFC 6479: a ring of words, of which
// whole words are cleared as the window moves). For one thread, that of the worker or server that
// owns the channel. bpf/window.h is the same for the kernel's programs.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace omni {

enum class ReplayVerdict : uint8_t {
  kNewest,   // above every counter before
  kInOrder,  // inside the window and not seen before
  kReplay,   // seen, or older than the window, or the highest there is: no session gets there
};

// `kWindow`: so many counters below the newest are told apart; a multiple of 64.
template <uint64_t kWindow>
class ReplayWindow {
 public:
  // Judges `counter` and remembers it. Where packets have tags, ask only after the tag was found
  // good: an unauthenticated packet must not move the window.
  ReplayVerdict Accept(uint64_t counter) {
    if (counter == UINT64_MAX) return ReplayVerdict::kReplay;
    // `next_` is one above the highest counter accepted, so that 0 means "none yet".
    const bool newest = counter >= next_;
    if (newest) {
      ClearUpTo(counter);
      next_ = counter + 1;
    } else if (next_ - counter > kWindow) {
      return ReplayVerdict::kReplay;
    }
    uint64_t& word = words_[(counter / kBits) % kWords];
    const uint64_t bit = uint64_t{1} << (counter % kBits);
    if ((word & bit) != 0) return ReplayVerdict::kReplay;
    word |= bit;
    return newest ? ReplayVerdict::kNewest : ReplayVerdict::kInOrder;
  }

 private:
  static constexpr uint64_t kBits = 64;
  static_assert(kWindow % kBits == 0);
  // One word more than the window, so that clearing whole words never forgets a counter inside it.
  static constexpr uint64_t kWords = kWindow / kBits + 1;

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
