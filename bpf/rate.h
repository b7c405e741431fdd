/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A token bucket as one number, after the generic cell rate algorithm (ITU-T I.371): `next` is when
 * the bucket would be full again, and a packet conforms while that is less than a burst away. Two
 * CPUs that race on it let a packet too many through, and that is cheaper than a lock.
 */
#ifndef OMNI_BPF_RATE_H
#define OMNI_BPF_RATE_H

#include "bpf/helpers.h"

/* Whether a packet at `now` conforms to one each `interval` ns, `burst` at once; if so it counts.
 */
OMNI_INLINE int omni_conforms(uint64_t* next, uint64_t now, uint64_t interval, uint64_t burst) {
  const uint64_t from = *next > now ? *next : now;
  if (from - now > interval * (burst - 1)) return 0;
  *next = from + interval;
  return 1;
}

#endif /* OMNI_BPF_RATE_H */
