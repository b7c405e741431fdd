/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the headers of a packet from the host, up to the ports. Every length is checked against the
 * packet here; bpf_skb_load_bytes() reads packets in any number of pieces. Byte order is the
 * network's where a field is copied, the host's where it says so.
 */
#ifndef OMNI_BPF_INNER_H
#define OMNI_BPF_INNER_H

#include <linux/tcp.h>

#include "bpf/maps.h"

#define OMNI_TCP_FLAGS 13 /* offset of the flags in a TCP header */
#define OMNI_TCP_SYN 0x02

/* An inner packet as the sender sees it. */
struct omni_inner {
  uint32_t flow;    /* place of its flow in omni_flows, by addresses, protocol and ports */
  uint32_t any;     /* place of everything whose ports cannot be seen, by addresses */
  uint32_t header;  /* bytes before the transport header; 0: the kernel does not seal it */
  uint16_t family;  /* 4 or 6 */
  uint8_t is_blind; /* a fragment or the like: it may belong to any flow of its addresses */
  uint8_t protocol;
  uint8_t traffic_class;
  uint8_t target[16];
};

OMNI_INLINE uint64_t omni_mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
  return hash ^ hash >> 29;
}

OMNI_INLINE int omni_has_ports(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP;
}

/* `hash` is of the addresses. Fragments of IPv6 hide their protocol, so it comes in with the ports.
 */
OMNI_INLINE void omni_place_flow(struct __sk_buff* skb, struct omni_inner* inner, uint64_t hash,
                                 uint32_t transport) {
  inner->any = (uint32_t)(hash >> 16) % OMNI_KERNEL_FLOWS;
  uint32_t ports = 0;
  if (!inner->is_blind && omni_has_ports(inner->protocol) &&
      bpf_skb_load_bytes(skb, transport, &ports, sizeof(ports))) {
    inner->is_blind = 1;
  }
  hash = omni_mix(hash, (uint64_t)inner->protocol << 32 | ports);
  inner->flow = (uint32_t)(hash >> 16) % OMNI_KERNEL_FLOWS;
}

/* LIMIT: sealed are protocols whose checksum the program can finish, or that leave none unfinished,
 * behind a header without options. */
OMNI_INLINE int omni_parse_inner4(struct __sk_buff* skb, struct omni_inner* inner) {
  struct iphdr ip;
  if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.version != 4) return 0;
  inner->family = 4;
  inner->protocol = ip.protocol;
  inner->traffic_class = ip.tos;
  inner->is_blind = (ip.frag_off & bpf_htons(OMNI_FRAGMENT_BITS)) != 0;
  __builtin_memcpy(inner->target, &ip.daddr, 4);
  omni_place_flow(skb, inner, omni_mix(4, (uint64_t)ip.saddr << 32 | ip.daddr), ip.ihl * 4U);
  const int known = omni_has_ports(ip.protocol) || ip.protocol == IPPROTO_ICMP;
  if (known && !inner->is_blind && ip.ihl == 5 && bpf_ntohs(ip.tot_len) == skb->len) {
    inner->header = sizeof(ip);
  }
  return 1;
}

OMNI_INLINE int omni_parse_inner6(struct __sk_buff* skb, struct omni_inner* inner) {
  struct ipv6hdr ip;
  if (bpf_skb_load_bytes(skb, 0, &ip, sizeof(ip)) || ip.version != 6) return 0;
  const int known = omni_has_ports(ip.nexthdr) || ip.nexthdr == IPPROTO_ICMPV6;
  inner->family = 6;
  inner->protocol = ip.nexthdr;
  inner->traffic_class = (uint8_t)(ip.priority << 4 | ip.flow_lbl[0] >> 4);
  inner->is_blind = !known;
  __builtin_memcpy(inner->target, &ip.daddr, 16);
  const uint32_t* from = ip.saddr.in6_u.u6_addr32;
  const uint32_t* to = ip.daddr.in6_u.u6_addr32;
  uint64_t hash = omni_mix(6, (uint64_t)from[0] << 32 | from[1]);
  hash = omni_mix(hash, (uint64_t)from[2] << 32 | from[3]);
  hash = omni_mix(hash, (uint64_t)to[0] << 32 | to[1]);
  hash = omni_mix(hash, (uint64_t)to[2] << 32 | to[3]);
  omni_place_flow(skb, inner, hash, sizeof(ip));
  if (!inner->is_blind && bpf_ntohs(ip.payload_len) + sizeof(ip) == skb->len) {
    inner->header = sizeof(ip);
  }
  return 1;
}

/* Whether a packet that could be sealed opens a TCP connection. */
OMNI_INLINE int omni_is_syn(struct __sk_buff* skb, const struct omni_inner* inner) {
  uint8_t flags = 0;
  if (inner->protocol != IPPROTO_TCP || inner->header == 0) return 0;
  if (bpf_skb_load_bytes(skb, inner->header + OMNI_TCP_FLAGS, &flags, sizeof(flags))) return 0;
  return (flags & OMNI_TCP_SYN) != 0;
}

OMNI_INLINE int omni_parse_inner(struct __sk_buff* skb, struct omni_inner* inner) {
  if (skb->protocol == bpf_htons(ETH_P_IP)) return omni_parse_inner4(skb, inner);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) return omni_parse_inner6(skb, inner);
  return 0;
}

#endif /* OMNI_BPF_INNER_H */
