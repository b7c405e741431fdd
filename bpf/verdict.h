/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* How the steering program ends: every frame passes, leaves or is dropped, and is counted. What
 * the relay leaves to user space is counted as that, and by how it passes. */
#ifndef OMNI_BPF_VERDICT_H
#define OMNI_BPF_VERDICT_H

#include "bpf/helpers.h"
#include "bpf/steer_abi.h"

/* By omni_steer_counter. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, OMNI_STEER_COUNT);
  __type(key, uint32_t);
  __type(value, uint64_t);
} steer_counters SEC(".maps");

OMNI_INLINE void omni_note(uint32_t counter, uint64_t amount) {
  uint64_t* value = bpf_map_lookup_elem(&steer_counters, &counter);
  if (value) *value += amount;
}

OMNI_INLINE int omni_pass_as(uint32_t counter) {
  omni_note(counter, 1);
  return XDP_PASS;
}

OMNI_INLINE int omni_drop_as(enum omni_drop_reason reason) {
  omni_count(reason);
  return XDP_DROP;
}

#endif /* OMNI_BPF_VERDICT_H */
