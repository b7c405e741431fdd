/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the headers of a packet: outer ones up to session data, inner ones up to the ports. Every
 * length is checked against the packet here; bpf_skb_load_bytes() reads packets in any number of
 * pieces. Byte order is the network's where a field is copied, the host's where it says so.
 */
#ifndef OMNI_BPF_PARSE_H
#define OMNI_BPF_PARSE_H

#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "bpf/maps.h"

#define OMNI_TCP_FLAGS 13 /* offset of the flags in a TCP header */
#define OMNI_TCP_SYN 0x02
#define OMNI_FRAGMENT_BITS 0x3fff /* more fragments, or an offset */

/* A datagram for our port, seen from outside. */
struct omni_outer {
  uint32_t payload;       /* offset of the UDP payload */
  uint32_t payload_bytes; /* host order */
  uint16_t family;        /* 4 or 6 */
  uint16_t source_port;
  uint8_t traffic_class;
  uint8_t source[16];
  uint8_t target[16];
};

/* The UDP header at `at`: whether it is for our port and within `limit`, the end of the packet. */
OMNI_INLINE int omni_parse_udp(struct __sk_buff* skb, uint32_t at, uint32_t limit,
                               struct omni_outer* out) {
  struct udphdr udp;
  if (bpf_skb_load_bytes(skb, at, &udp, sizeof(udp))) return 0;
  if (udp.dest != omni_port) return 0;
  const uint32_t bytes = bpf_ntohs(udp.len);
  if (bytes < sizeof(udp) || at + bytes > limit) return 0;
  out->payload = at + sizeof(udp);
  out->payload_bytes = bytes - sizeof(udp);
  out->source_port = udp.source;
  return 1;
}

OMNI_INLINE int omni_parse_outer4(struct __sk_buff* skb, struct omni_outer* out) {
  struct iphdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return 0;
  const uint32_t header = ip.ihl * 4U;
  if (ip.version != 4 || header < sizeof(ip) || ip.protocol != IPPROTO_UDP) return 0;
  if (ip.frag_off & bpf_htons(OMNI_FRAGMENT_BITS)) return 0;
  const uint32_t end = ETH_HLEN + bpf_ntohs(ip.tot_len);
  if (end > skb->len) return 0;
  out->family = 4;
  out->traffic_class = ip.tos;
  __builtin_memcpy(out->source, &ip.saddr, 4);
  __builtin_memcpy(out->target, &ip.daddr, 4);
  return omni_parse_udp(skb, ETH_HLEN + header, end, out);
}

/* LIMIT: hop-by-hop options, routing and destination options may stand before UDP, each at most
 * twice (RFC 8200, section 4.1); what has more, or is a fragment, is the kernel's. */
#define OMNI_MAX_EXTENSIONS 4

OMNI_INLINE int omni_parse_outer6(struct __sk_buff* skb, struct omni_outer* out) {
  struct ipv6hdr ip;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip))) return 0;
  if (ip.version != 6) return 0;
  const uint32_t end = ETH_HLEN + sizeof(ip) + bpf_ntohs(ip.payload_len);
  if (end > skb->len) return 0;
  uint32_t at = ETH_HLEN + sizeof(ip);
  uint8_t next = ip.nexthdr;
  for (int i = 0; i < OMNI_MAX_EXTENSIONS; ++i) {
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS) break;
    uint8_t extension[2];
    if (bpf_skb_load_bytes(skb, at, extension, sizeof(extension))) return 0;
    next = extension[0];
    at += (extension[1] + 1U) * 8U;
  }
  if (next != IPPROTO_UDP) return 0;
  out->family = 6;
  out->traffic_class = (uint8_t)(ip.priority << 4 | ip.flow_lbl[0] >> 4);
  __builtin_memcpy(out->source, &ip.saddr, 16);
  __builtin_memcpy(out->target, &ip.daddr, 16);
  return omni_parse_udp(skb, at, end, out);
}

/* Whether the header of IPv4 is whole. Asked late, because few packets come so far. */
OMNI_INLINE int omni_header_is_whole(struct __sk_buff* skb, const struct omni_outer* outer) {
  if (outer->family != 4) return 1;
  uint32_t words[15] = {};
  uint32_t bytes = outer->payload - sizeof(struct udphdr) - ETH_HLEN;
  OMNI_OPAQUE(bytes);
  if (bytes < sizeof(struct iphdr) || bytes > sizeof(words)) return 0;
  if (bpf_skb_load_bytes(skb, ETH_HLEN, words, bytes)) return 0;
  uint64_t sum = 0;
  for (int i = 0; i < 15; ++i) sum += words[i];
  return omni_fold(sum) == 0xffff;
}

/* Whether the packet is a datagram to our port that `out` now describes. Tagged frames are not: the
 * kernel takes the tag off, and they come again on the VLAN's own interface. */
OMNI_INLINE int omni_parse_outer(struct __sk_buff* skb, struct omni_outer* out) {
  if (skb->vlan_present) return 0;
  if (skb->protocol == bpf_htons(ETH_P_IP)) return omni_parse_outer4(skb, out);
  if (skb->protocol == bpf_htons(ETH_P_IPV6)) return omni_parse_outer6(skb, out);
  return 0;
}

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

#endif /* OMNI_BPF_PARSE_H */
