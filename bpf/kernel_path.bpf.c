/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The programs of the in-kernel path. dataplane/kernel loads and attaches them. */
#include "bpf/open.h"
#include "bpf/seal.h"

/* TC ingress of each underlay interface. */
SEC("tc")
int omni_open_wire(struct __sk_buff* skb) {
  return omni_is_marked(skb) ? omni_deliver_marked(skb) : omni_receive(skb, OMNI_AT_TC);
}

/* At XDP, called by steer.bpf.c for control channels. */
SEC("xdp.frags")
int omni_open_frame(struct xdp_md* frame) {
  return omni_receive(frame, OMNI_AT_XDP) == OMNI_DROP ? XDP_DROP : XDP_PASS;
}

/* Run by user space on a datagram that reached its socket, behind outer headers made up again. */
SEC("tc")
int omni_open_again(struct __sk_buff* skb) { return omni_receive(skb, OMNI_FROM_USER_SPACE); }

/* TC egress of the TUN. */
SEC("tc")
int omni_seal_tun(struct __sk_buff* skb) { return omni_send(skb); }

char omni_license[] SEC("license") = "Dual BSD/GPL";
