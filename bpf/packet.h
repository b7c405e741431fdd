/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A packet, whichever program looks at it. The same code runs at TC, where a packet is an sk_buff,
 * and at XDP, where it still is a frame of the driver; `way` says which, and is a constant wherever
 * this is inlined, so that a program has the one branch and not the other.
 */
#ifndef OMNI_BPF_PACKET_H
#define OMNI_BPF_PACKET_H

#include "bpf/work.h"

#define OMNI_FRAGMENT_BITS 0x3fff /* of frag_off: more fragments, or an offset */

enum omni_way {
  OMNI_AT_TC,          /* struct __sk_buff */
  OMNI_AT_XDP,         /* struct xdp_md */
  OMNI_FROM_USER_SPACE /* struct __sk_buff, in a run that user space asked for */
};

/* `bytes` of the packet from `at` on; 0 when it has them. */
OMNI_INLINE int omni_read(void* packet, enum omni_way way, uint32_t at, void* to, uint32_t bytes) {
  return way == OMNI_AT_XDP ? (int)bpf_xdp_load_bytes(packet, at, to, bytes)
                            : (int)bpf_skb_load_bytes(packet, at, to, bytes);
}

OMNI_INLINE uint32_t omni_length(void* packet, enum omni_way way) {
  return way == OMNI_AT_XDP ? (uint32_t)bpf_xdp_get_buff_len(packet)
                            : ((struct __sk_buff*)packet)->len;
}

OMNI_INLINE uint32_t omni_interface(void* packet, enum omni_way way) {
  return way == OMNI_AT_XDP ? ((struct xdp_md*)packet)->ingress_ifindex
                            : ((struct __sk_buff*)packet)->ingress_ifindex;
}

/* Bytes of a frame that stand in one piece. The kernel gives pointers in fields of 32 bits; what is
 * hidden from the compiler is subtracted as the pointers that they are. */
OMNI_INLINE uint32_t omni_first_piece(const struct xdp_md* frame) {
  uint64_t begin = frame->data, end = frame->data_end;
  OMNI_OPAQUE(begin);
  OMNI_OPAQUE(end);
  return (uint32_t)(end - begin);
}

/* The text of 1 to OMNI_KERNEL_TEXT bytes to or from the packet; 0 when done. One less than the
 * length is what is checked: from that the verifier of Linux 6.1 sees that no length is zero. */
OMNI_INLINE int omni_read_text(void* packet, enum omni_way way, uint32_t at, struct omni_crypt* c,
                               uint32_t bytes) {
  uint32_t less = bytes - 1;
  OMNI_OPAQUE(less);
  return less >= OMNI_KERNEL_TEXT || omni_read(packet, way, at, c->text, less + 1);
}
OMNI_INLINE int omni_write_text(void* packet, enum omni_way way, uint32_t at, struct omni_crypt* c,
                                uint32_t bytes) {
  uint32_t less = bytes - 1;
  OMNI_OPAQUE(less);
  if (less >= OMNI_KERNEL_TEXT) return -1;
  return way == OMNI_AT_XDP
             ? (int)bpf_xdp_store_bytes(packet, at, c->text, less + 1)
             : (int)bpf_skb_store_bytes(packet, at, c->text, less + 1, BPF_F_RECOMPUTE_CSUM);
}

#endif /* OMNI_BPF_PACKET_H */
