/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The replay window of a control channel: dataplane/core/replay.h once more, under a spin lock,
 * because a NIC may bring one channel's packets to several CPUs. Ask only after the tag was found
 * good.
 */
#ifndef OMNI_BPF_REPLAY_H
#define OMNI_BPF_REPLAY_H

#include "bpf/maps.h"

enum omni_verdict { OMNI_REPLAYED, OMNI_IN_ORDER, OMNI_NEWEST };

/* Judges `counter` and remembers it. A window that has become another channel's refuses. */
OMNI_INLINE enum omni_verdict omni_accept(struct omni_kernel_window* w, uint64_t id,
                                          uint64_t counter) {
  enum omni_verdict verdict = OMNI_REPLAYED;
  uint32_t word = (uint32_t)((counter / 64) % OMNI_REPLAY_WORDS);
  const uint64_t bit = 1ULL << (counter % 64);
  bpf_spin_lock(&w->lock);
  const uint64_t next = w->next;
  const int newest = counter >= next;
  if (w->id != id) goto out;
  if (!newest && next - counter > OMNI_REPLAY_WINDOW) goto out;
  if (newest) {
    /* The words that `counter` opens are cleared; those of a window never used are clear. */
    const uint64_t from = next == 0 ? counter / 64 : (next - 1) / 64;
    const uint64_t steps = counter / 64 - from;
    for (uint32_t i = 1; i <= OMNI_REPLAY_WORDS; ++i) {
      if (i > steps) break;
      uint32_t at = (uint32_t)((from + i) % OMNI_REPLAY_WORDS);
      OMNI_OPAQUE(at);
      if (at < OMNI_REPLAY_WORDS) w->words[at] = 0;
    }
    w->next = counter + 1;
  }
  OMNI_OPAQUE(word);
  if (word >= OMNI_REPLAY_WORDS || (w->words[word] & bit) != 0) goto out;
  w->words[word] |= bit;
  verdict = newest ? OMNI_NEWEST : OMNI_IN_ORDER;
out:
  bpf_spin_unlock(&w->lock);
  return verdict;
}

#endif /* OMNI_BPF_REPLAY_H */
