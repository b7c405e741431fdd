/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The last step of receiving: the outer headers come off, and the inner packet goes to the TUN.
 *
 * At TC that is one step. A frame at XDP cannot be given to a TUN (its reader would get it, not the
 * host), so it goes on in the clear as a frame of its interface, with a mark in front that the
 * program at TC ingress of the same interface recognises. In between GRO joins packets of a flow,
 * as long as their marks are equal. XDP opens nothing on an interface without that program.
 */
#ifndef OMNI_BPF_DELIVER_H
#define OMNI_BPF_DELIVER_H

#include "bpf/maps.h"

/* A stage gives 0 to go on, or how the packet ends. */
#define OMNI_GO_ON 0
#define OMNI_PASS (-1)  /* TC_ACT_UNSPEC: whatever comes next may have it */
#define OMNI_DROP 2     /* TC_ACT_SHOT */
#define OMNI_MARKED 100 /* at XDP: opened, and on its way to TC */

OMNI_INLINE int omni_drop(enum omni_drop_reason reason) {
  omni_count(reason);
  return OMNI_DROP;
}

/* Between XDP and TC: "opened by this dataplane". Only programs of this machine can write it, and
 * the magic tells ours from those of others. */
struct omni_mark {
  uint32_t magic;
  uint32_t peer;
};

/* Makes room for a mark that marks nothing yet; whether it can be had. It follows the frame when
 * that is cut. */
OMNI_INLINE int omni_make_mark(struct xdp_md* frame, uint32_t peer) {
  if (bpf_xdp_adjust_meta(frame, -(int)sizeof(struct omni_mark))) return 0;
  struct omni_mark* mark = (struct omni_mark*)(long)frame->data_meta;
  if ((void*)(mark + 1) > (void*)(long)frame->data) return 0;
  mark->magic = 0;
  mark->peer = peer;
  return 1;
}

/* Makes the frame what the work space holds, behind the Ethernet header that it had. */
OMNI_INLINE int omni_deliver_frame(struct xdp_md* frame, struct omni_crypt* c, uint32_t bytes,
                                   uint32_t peer) {
  const int surplus = (int)omni_length(frame, OMNI_AT_XDP) - ETH_HLEN - (int)bytes;
  if (surplus <= 0 || bpf_xdp_adjust_head(frame, surplus)) return omni_drop(OMNI_DROP_rx_tun_error);
  struct omni_mark* mark = (struct omni_mark*)(long)frame->data_meta;
  struct omni_ethernet* ethernet = (struct omni_ethernet*)(long)frame->data;
  if ((void*)(mark + 1) > (void*)(long)frame->data ||
      (void*)(ethernet + 1) > (void*)(long)frame->data_end) {
    return omni_drop(OMNI_DROP_rx_tun_error);
  }
  mark->magic = omni_magic;
  mark->peer = peer;
  *ethernet = c->head4.ethernet;
  ethernet->type = c->text[0] >> 4 == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
  if (omni_write_text(frame, OMNI_AT_XDP, ETH_HLEN, c, bytes)) {
    return omni_drop(OMNI_DROP_rx_tun_error);
  }
  return OMNI_MARKED;
}

/* Whether XDP has opened the packet. */
OMNI_INLINE int omni_is_marked(struct __sk_buff* skb) {
  const struct omni_mark* mark = (const struct omni_mark*)(long)skb->data_meta;
  if ((const void*)(mark + 1) > (const void*)(long)skb->data) return 0;
  return mark->magic == omni_magic;
}

OMNI_INLINE int omni_give_to_tun(struct __sk_buff* skb) {
  skb->mark = 0;
  bpf_set_hash_invalid(skb);
  return (int)bpf_redirect(omni_tun, BPF_F_INGRESS);
}

OMNI_INLINE int omni_deliver_marked(struct __sk_buff* skb) {
  /* A checksum that a sender on this machine left unfinished began in what XDP has cut off: writing
   * with recomputation makes the kernel forget it, or a device would finish it elsewhere. */
  const uint16_t type = (uint16_t)skb->protocol;
  if (bpf_skb_store_bytes(skb, offsetof(struct omni_ethernet, type), &type, sizeof(type),
                          BPF_F_RECOMPUTE_CSUM)) {
    return omni_drop(OMNI_DROP_rx_tun_error);
  }
  return omni_give_to_tun(skb);
}

/* Makes the packet what the work space holds, behind an Ethernet header. */
OMNI_INLINE int omni_deliver(struct __sk_buff* skb, struct omni_crypt* c, uint32_t bytes,
                             uint16_t outer_family) {
  const uint16_t family = c->text[0] >> 4;
  /* Changes the family, and the length by the difference of the two headers. */
  if (family != outer_family &&
      bpf_skb_change_proto(skb, bpf_htons(family == 4 ? ETH_P_IP : ETH_P_IPV6), 0)) {
    return omni_drop(OMNI_DROP_rx_tun_error);
  }
  const int surplus = (int)skb->len - ETH_HLEN - (int)bytes;
  if (surplus <= 0 || bpf_skb_adjust_room(skb, -surplus, BPF_ADJ_ROOM_MAC, 0) ||
      omni_write_text(skb, OMNI_AT_TC, ETH_HLEN, c, bytes)) {
    return omni_drop(OMNI_DROP_rx_tun_error);
  }
  return omni_give_to_tun(skb);
}

#endif /* OMNI_BPF_DELIVER_H */
