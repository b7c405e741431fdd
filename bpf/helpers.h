/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What all BPF sources need: kernel and libbpf headers, counting, small arithmetic. The AEAD stands
 * in global functions ("noinline" without "static"): the verifier looks at each once, whatever
 * calls it, and they check their arguments, because the verifier trusts no caller.
 */
#ifndef OMNI_BPF_HELPERS_H
#define OMNI_BPF_HELPERS_H

#include <linux/bpf.h>
/* after linux/bpf.h */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/kernel_abi.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the AEAD loads little-endian words as they are"
#endif

#define OMNI_INLINE static __attribute__((always_inline, unused))
#define OMNI_GLOBAL __attribute__((noinline))

/* Makes the compiler forget what it knows of a number, so that a check in the source is a check in
 * the program: the verifier does not follow LLVM's arithmetic. */
#define OMNI_OPAQUE(number) __asm__ volatile("%0 = %0" : "+r"(number))

/* By omni_drop_reason and omni_kernel_counter. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, OMNI_COUNTERS);
  __type(key, uint32_t);
  __type(value, uint64_t);
} omni_counters SEC(".maps");

OMNI_INLINE void omni_add(uint32_t index, uint64_t amount) {
  uint64_t* value = bpf_map_lookup_elem(&omni_counters, &index);
  if (value) *value += amount;
}
OMNI_INLINE void omni_count(uint32_t index) { omni_add(index, 1); }

/* One's complement sum of 64 bits to 16. */
OMNI_INLINE uint16_t omni_fold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)sum;
}

#endif /* OMNI_BPF_HELPERS_H */
