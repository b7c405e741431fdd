/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the headers of a frame at XDP, where it still is as it came off the wire: Ethernet, up to
 * two VLAN tags, IPv4 with options or IPv6 with extension headers, UDP. bpf_xdp_load_bytes() reads
 * frames in any number of pieces. What is not plainly a datagram is not ours to judge.
 */
#ifndef OMNI_BPF_FRAME_H
#define OMNI_BPF_FRAME_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "bpf/helpers.h"
#include "bpf/steer_abi.h"

/* LIMIT: a customer's tag inside a provider's (802.1ad). */
#define OMNI_FRAME_TAGS 2
/* LIMIT: as in outer.h: each header that may stand before UDP at most twice (RFC 8200, 4.1). */
#define OMNI_FRAME_EXTENSIONS 4
#define OMNI_FRAME_FRAGMENT 0x3fff /* more fragments, or an offset */

/* A datagram, seen from outside. */
struct omni_datagram {
  uint32_t payload;       /* offset of the UDP payload */
  uint32_t payload_bytes; /* host order */
  uint16_t source_port;   /* network order, as the next one */
  uint16_t target_port;
  struct omni_steer_address source;
  struct omni_steer_address target;
};

/* The UDP header at `at`: whether it and its payload lie within `end`. */
OMNI_INLINE int omni_frame_udp(struct xdp_md* ctx, uint32_t at, uint32_t end,
                               struct omni_datagram* out) {
  struct udphdr udp;
  if (bpf_xdp_load_bytes(ctx, at, &udp, sizeof(udp))) return 0;
  const uint32_t bytes = bpf_ntohs(udp.len);
  if (bytes < sizeof(udp) || at + bytes > end) return 0;
  out->payload = at + sizeof(udp);
  out->payload_bytes = bytes - sizeof(udp);
  out->source_port = udp.source;
  out->target_port = udp.dest;
  return 1;
}

OMNI_INLINE int omni_frame_ipv4(struct xdp_md* ctx, uint32_t at, struct omni_datagram* out) {
  struct iphdr ip;
  if (bpf_xdp_load_bytes(ctx, at, &ip, sizeof(ip))) return 0;
  const uint32_t header = ip.ihl * 4U;
  if (ip.version != 4 || header < sizeof(ip) || ip.protocol != IPPROTO_UDP) return 0;
  if (ip.frag_off & bpf_htons(OMNI_FRAME_FRAGMENT)) return 0;
  const uint32_t end = at + bpf_ntohs(ip.tot_len);
  if (end > bpf_xdp_get_buff_len(ctx)) return 0;
  out->source.family = out->target.family = 4;
  __builtin_memcpy(out->source.bytes, &ip.saddr, 4);
  __builtin_memcpy(out->target.bytes, &ip.daddr, 4);
  return omni_frame_udp(ctx, at + header, end, out);
}

OMNI_INLINE int omni_frame_ipv6(struct xdp_md* ctx, uint32_t at, struct omni_datagram* out) {
  struct ipv6hdr ip;
  if (bpf_xdp_load_bytes(ctx, at, &ip, sizeof(ip))) return 0;
  if (ip.version != 6) return 0;
  at += sizeof(ip);
  const uint32_t end = at + bpf_ntohs(ip.payload_len);
  if (end > bpf_xdp_get_buff_len(ctx)) return 0;
  uint8_t next = ip.nexthdr;
  for (int i = 0; i < OMNI_FRAME_EXTENSIONS; ++i) {
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS) break;
    uint8_t extension[2];
    if (bpf_xdp_load_bytes(ctx, at, extension, sizeof(extension))) return 0;
    next = extension[0];
    at += (extension[1] + 1U) * 8U;
  }
  if (next != IPPROTO_UDP) return 0;
  out->source.family = out->target.family = 6;
  __builtin_memcpy(out->source.bytes, &ip.saddr, 16);
  __builtin_memcpy(out->target.bytes, &ip.daddr, 16);
  return omni_frame_udp(ctx, at, end, out);
}

/* Whether the frame is a whole datagram that `out`, zero before, now describes. */
OMNI_INLINE int omni_parse_frame(struct xdp_md* ctx, struct omni_datagram* out) {
  uint16_t type;
  uint32_t at = offsetof(struct ethhdr, h_proto);
  if (bpf_xdp_load_bytes(ctx, at, &type, sizeof(type))) return 0;
  for (int i = 0; i < OMNI_FRAME_TAGS; ++i) {
    if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD)) break;
    at += 4;
    if (bpf_xdp_load_bytes(ctx, at, &type, sizeof(type))) return 0;
  }
  at += sizeof(type);
  if (type == bpf_htons(ETH_P_IP)) return omni_frame_ipv4(ctx, at, out);
  if (type == bpf_htons(ETH_P_IPV6)) return omni_frame_ipv6(ctx, at, out);
  return 0;
}

#endif /* OMNI_BPF_FRAME_H */
