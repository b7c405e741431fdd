/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Reads the headers of a packet from the network up to session data: Ethernet, IPv4 with options or
 * IPv6 with extension headers, UDP, the data header. One read brings all of them where IPv4 has no
 * options. Every length is checked against the packet here. Byte order is the network's where a
 * field is copied, the host's where it says so.
 */
#ifndef OMNI_BPF_OUTER_H
#define OMNI_BPF_OUTER_H

#include "bpf/maps.h"

/* A datagram for our port, seen from outside. */
struct omni_outer {
  uint64_t id; /* these three as if it were session data */
  uint64_t counter;
  uint32_t tag[4];
  uint32_t payload;       /* offset of the UDP payload */
  uint32_t payload_bytes; /* host order */
  uint16_t family;        /* 4 or 6 */
  uint16_t source_port;
  uint8_t traffic_class;
  uint8_t source[16];
  uint8_t target[16];
};

/* The UDP header at `at`: whether it is for our port, within `limit`, the end of the packet, and as
 * long as session data is. `aad` and `tag` are what follows it. */
OMNI_INLINE int omni_parse_udp(const struct udphdr* udp, const uint32_t* aad, const uint32_t* tag,
                               uint32_t at, uint32_t limit, struct omni_outer* out) {
  if (udp->dest != omni_port) return 0;
  const uint32_t bytes = bpf_ntohs(udp->len);
  if (bytes < sizeof(*udp) + OMNI_DATA_OVERHEAD || at + bytes > limit) return 0;
  out->payload = at + sizeof(*udp);
  out->payload_bytes = bytes - sizeof(*udp);
  out->source_port = udp->source;
  out->id = aad[0] | (uint64_t)aad[1] << 32;
  out->counter = aad[2] | (uint64_t)aad[3] << 32;
  for (int i = 0; i < 4; ++i) out->tag[i] = tag[i];
  return 1;
}

OMNI_INLINE int omni_parse_outer4(void* packet, enum omni_way way, struct omni_head4* head,
                                  struct omni_outer* out) {
  const struct iphdr* ip = &head->ip;
  const uint32_t header = ip->ihl * 4U;
  if (ip->version != 4 || header < sizeof(*ip) || ip->protocol != IPPROTO_UDP) return 0;
  if (ip->frag_off & bpf_htons(OMNI_FRAGMENT_BITS)) return 0;
  const uint32_t end = ETH_HLEN + bpf_ntohs(ip->tot_len);
  if (end > omni_length(packet, way)) return 0;
  const uint32_t at = ETH_HLEN + header;
  if (header != sizeof(*ip) &&
      omni_read(packet, way, at, &head->udp, sizeof(head->udp) + OMNI_DATA_OVERHEAD)) {
    return 0;
  }
  out->family = 4;
  out->traffic_class = ip->tos;
  __builtin_memcpy(out->source, &ip->saddr, 4);
  __builtin_memcpy(out->target, &ip->daddr, 4);
  return omni_parse_udp(&head->udp, head->aad, head->tag, at, end, out);
}

/* LIMIT: hop-by-hop options, routing and destination options may stand before UDP, each at most
 * twice (RFC 8200, section 4.1); what has more, or is a fragment, is the kernel's. */
#define OMNI_MAX_EXTENSIONS 4

OMNI_INLINE int omni_parse_outer6(void* packet, enum omni_way way, struct omni_head6* head,
                                  struct omni_outer* out) {
  const struct ipv6hdr* ip = &head->ip;
  if (ip->version != 6) return 0;
  const uint32_t end = ETH_HLEN + sizeof(*ip) + bpf_ntohs(ip->payload_len);
  if (end > omni_length(packet, way)) return 0;
  uint32_t at = ETH_HLEN + sizeof(*ip);
  uint8_t next = ip->nexthdr;
  for (int i = 0; i < OMNI_MAX_EXTENSIONS; ++i) {
    if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS) break;
    uint8_t extension[2];
    if (omni_read(packet, way, at, extension, sizeof(extension))) return 0;
    next = extension[0];
    at += (extension[1] + 1U) * 8U;
  }
  if (next != IPPROTO_UDP) return 0;
  if (omni_read(packet, way, at, &head->udp, sizeof(head->udp) + OMNI_DATA_OVERHEAD)) return 0;
  out->family = 6;
  out->traffic_class = (uint8_t)(ip->priority << 4 | ip->flow_lbl[0] >> 4);
  __builtin_memcpy(out->source, &ip->saddr, 16);
  __builtin_memcpy(out->target, &ip->daddr, 16);
  return omni_parse_udp(&head->udp, head->aad, head->tag, at, end, out);
}

/* Whether the header of IPv4 is whole. Asked late, because few packets come so far. */
OMNI_INLINE int omni_header_is_whole(void* packet, enum omni_way way, const struct omni_crypt* c,
                                     const struct omni_outer* outer) {
  if (outer->family != 4) return 1;
  const uint32_t* words = (const uint32_t*)&c->head4.ip;
  uint64_t sum = (uint64_t)words[0] + words[1] + words[2] + words[3] + words[4];
  const uint32_t options = outer->payload - OMNI_HEAD4 + OMNI_DATA_OVERHEAD;
  if (options > 0) {
    uint32_t more[10] = {};
    uint32_t less = options - 1; /* see omni_read_text() */
    OMNI_OPAQUE(less);
    if (less >= sizeof(more)) return 0;
    if (omni_read(packet, way, ETH_HLEN + sizeof(struct iphdr), more, less + 1)) return 0;
    for (int i = 0; i < 10; ++i) sum += more[i];
  }
  return omni_fold(sum) == 0xffff;
}

/* Whether the packet is a datagram to our port, as long as session data, that `out`, zero before,
 * now describes. Its first headers are in `c`. Tagged frames are not: the kernel takes the tag off,
 * and they come again on the VLAN's own interface. */
OMNI_INLINE int omni_parse_outer(void* packet, enum omni_way way, struct omni_crypt* c,
                                 struct omni_outer* out) {
  if (way != OMNI_AT_XDP && ((struct __sk_buff*)packet)->vlan_present) return 0;
  if (omni_read(packet, way, 0, &c->head4.ethernet, OMNI_HEAD4)) return 0;
  const uint16_t type = c->head4.ethernet.type;
  if (type == bpf_htons(ETH_P_IP)) return omni_parse_outer4(packet, way, &c->head4, out);
  if (type == bpf_htons(ETH_P_IPV6)) return omni_parse_outer6(packet, way, &c->head6, out);
  return 0;
}

#endif /* OMNI_BPF_OUTER_H */
