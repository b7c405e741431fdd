/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The replay window of a control channel, and what the channel counts under its lock. Ask only
 * after the tag was found good.
 */
#ifndef OMNI_BPF_REPLAY_H
#define OMNI_BPF_REPLAY_H

#include "bpf/maps.h"
#include "bpf/window.h"

/* An authentic packet. */
struct omni_arrival {
  uint64_t channel_id;
  uint64_t counter;
  uint64_t bytes; /* of the inner packet */
  uint64_t at;
};

/* Judges a packet and remembers it; the lock is good for what the channel counts, too. A window
 * that has become another channel's refuses. */
OMNI_INLINE enum omni_verdict omni_accept(struct omni_kernel_window* w,
                                          struct omni_kernel_rx* channel,
                                          const struct omni_arrival* packet) {
  enum omni_verdict verdict = OMNI_REPLAYED;
  bpf_spin_lock(&w->lock);
  if (w->id == packet->channel_id) {
    verdict = omni_see(&w->next, w->words, OMNI_REPLAY_WORDS, packet->counter);
  }
  if (verdict != OMNI_REPLAYED) {
    ++channel->packets;
    channel->bytes += packet->bytes;
    channel->last_rx = packet->at;
  }
  bpf_spin_unlock(&w->lock);
  return verdict;
}

#endif /* OMNI_BPF_REPLAY_H */
