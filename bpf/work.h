/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The memory in which a packet is worked on: too much for the stack. One for each CPU and use:
 * programs do not interrupt each other there.
 */
#ifndef OMNI_BPF_WORK_H
#define OMNI_BPF_WORK_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "bpf/helpers.h"

struct omni_ethernet {
  uint8_t target[6];
  uint8_t source[6];
  uint16_t type;
};
_Static_assert(sizeof(struct omni_ethernet) == ETH_HLEN, "no padding");

/* What stands before the text of a datagram, from `ethernet` on. The gap aligns what follows: of
 * packed headers the compiler would read every byte by itself. */
struct omni_head4 {
  uint16_t gap;
  struct omni_ethernet ethernet;
  struct iphdr ip;
  struct udphdr udp;
  uint32_t aad[4];
  uint32_t tag[4];
};
struct omni_head6 {
  uint16_t gap;
  struct omni_ethernet ethernet;
  struct ipv6hdr ip;
  struct udphdr udp;
  uint32_t aad[4];
  uint32_t tag[4];
};
#define OMNI_HEAD4 (ETH_HLEN + 20 + 8 + OMNI_DATA_OVERHEAD)
#define OMNI_HEAD6 (ETH_HLEN + 40 + 8 + OMNI_DATA_OVERHEAD)
_Static_assert(sizeof(struct omni_head4) == 2 + OMNI_HEAD4, "no padding");
_Static_assert(sizeof(struct omni_head6) == 2 + OMNI_HEAD6, "no padding");

struct omni_crypt {
  uint32_t key[8];
  uint32_t nonce[2]; /* the counter of the packet; the first word of the RFC's nonce is zero */
  uint32_t tag[4];
  /* In this order and without a gap, because Poly1305 goes over them at one go. */
  uint32_t aad[4];
  uint8_t text[OMNI_KERNEL_TEXT];
  uint8_t slack[64]; /* padding and lengths behind the longest text */
  union {
    struct omni_head4 head4;
    struct omni_head6 head6;
  };
};

#endif /* OMNI_BPF_WORK_H */
