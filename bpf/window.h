/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which counters of a channel have been seen (RFC 6479): common/replay_window.h once more, for the
 * windows of all programs. A NIC may bring one channel's packets to several CPUs: hold the window's
 * lock.
 */
#ifndef OMNI_BPF_WINDOW_H
#define OMNI_BPF_WINDOW_H

#include "bpf/helpers.h"

enum omni_verdict { OMNI_REPLAYED, OMNI_IN_ORDER, OMNI_NEWEST };

/* Judges a counter and remembers it. `next` is one above the highest one so far, `words` a ring of
 * `count` (a constant) words, one more than the window has, so that whole ones can be cleared. */
OMNI_INLINE enum omni_verdict omni_see(uint64_t* next, uint64_t* words, const uint32_t count,
                                       uint64_t counter) {
  uint32_t word = (uint32_t)((counter / 64) % count);
  const uint64_t bit = 1ULL << (counter % 64);
  const uint64_t was = *next;
  const int newest = counter >= was;
  if (counter == ~0ULL) return OMNI_REPLAYED; /* no session gets there */
  if (!newest && was - counter > (count - 1) * 64) return OMNI_REPLAYED;
  if (newest) {
    /* The words that `counter` opens are cleared; those of a window never used are clear. */
    const uint64_t from = was == 0 ? counter / 64 : (was - 1) / 64;
    const uint64_t steps = counter / 64 - from;
    for (uint32_t i = 1; i <= count; ++i) {
      if (i > steps) break;
      uint32_t at = (uint32_t)((from + i) % count);
      OMNI_OPAQUE(at);
      if (at < count) words[at] = 0;
    }
    *next = counter + 1;
  }
  OMNI_OPAQUE(word);
  if (word >= count || (words[word] & bit) != 0) return OMNI_REPLAYED;
  words[word] |= bit;
  return newest ? OMNI_NEWEST : OMNI_IN_ORDER;
}

#endif /* OMNI_BPF_WINDOW_H */
