/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the host to the network: at TC egress of the TUN, small packets to a peer with a control
 * channel are sealed and sent; everything else goes on to user space, untouched.
 *
 *   1. parse      a packet whose header the program can finish, or not ours
 *   2. order      small, no SYN, of a slow flow, and nothing of it with user space a moment ago
 *   3. route      the peer, its path and its channel
 *   4. number     the next counter of the channel, the key under it
 *   5. checksum   what the host left unfinished
 *   6. seal       and the outer headers
 *   7. send       through the neighbour table of the outgoing interface
 */
#ifndef OMNI_BPF_SEAL_H
#define OMNI_BPF_SEAL_H

#include "bpf/deliver.h"
#include "bpf/inner.h"
#include "bpf/poly1305.h"
#include "bpf/rate.h"

struct omni_sealing {
  struct omni_inner inner;
  struct omni_kernel_peer* peer;
  struct omni_crypt* work;
  uint64_t now;
  uint32_t bytes;     /* of the inner packet */
  uint32_t threshold; /* bytes up to which it is for the kernel */
  uint32_t index;     /* of the peer */
  uint32_t interface;
  uint16_t family; /* outside */
  uint16_t port;
  uint8_t remote[16];
  uint8_t local[16];
};

/* When a packet of the flow last went to user space. */
OMNI_INLINE uint64_t omni_flow_time(uint32_t place) {
  const struct omni_kernel_flow* flow = bpf_map_lookup_elem(&omni_flows, &place);
  return flow ? flow->left : 0;
}

/* Bulk, however small its packets: user space seals a batch of them in half the time. */
OMNI_INLINE int omni_is_fast(const struct omni_sealing* s) {
  uint32_t place = s->inner.flow;
  struct omni_kernel_flow* flow = bpf_map_lookup_elem(&omni_flows, &place);
  return flow && !omni_conforms(&flow->next, s->now, omni_pace_ns, OMNI_KERNEL_FLOW_BURST);
}

/* Leaves a packet to user space; its flow counts as seen there at `then`. */
OMNI_INLINE int omni_leave_at(struct omni_sealing* s, enum omni_kernel_counter why, uint64_t then) {
  uint32_t place = s->inner.is_blind ? s->inner.any : s->inner.flow;
  struct omni_kernel_flow* flow = bpf_map_lookup_elem(&omni_flows, &place);
  if (flow && flow->left < then) flow->left = then;
  omni_count(why);
  return OMNI_PASS;
}

/* The same for a packet that is none for the kernel. Those of its flow follow it for a while. */
OMNI_INLINE int omni_leave(struct omni_sealing* s, enum omni_kernel_counter why) {
  return omni_leave_at(s, why, s->now);
}

/* The same for a packet that follows others of its flow. It holds the flow back for as long as user
 * space takes it to send it, and no longer: or a steady flow that began there would never leave.
 * LIMIT: half a millisecond, several times what a wake-up takes, less than the pause of a control
 * loop of 1 kHz. */
#define OMNI_KEPT_NS 500000
OMNI_INLINE int omni_keep(struct omni_sealing* s) {
  return omni_leave_at(s, OMNI_COUNT_kernel_tx_kept, s->now - omni_guard_ns + OMNI_KEPT_NS);
}

OMNI_INLINE int omni_check_order(struct __sk_buff* skb, struct omni_sealing* s) {
  /* User space makes the segment size fit the path. Nothing of the flow is on its way before. */
  if (omni_is_syn(skb, &s->inner)) {
    omni_count(OMNI_COUNT_kernel_tx_other);
    return OMNI_PASS;
  }
  s->bytes = skb->len;
  if (s->bytes > s->threshold || skb->gso_segs > 1 || s->inner.header == 0) {
    return omni_leave(s, OMNI_COUNT_kernel_tx_large);
  }
  const uint64_t since = s->now - omni_guard_ns;
  if (omni_flow_time(s->inner.flow) > since || omni_flow_time(s->inner.any) > since) {
    return omni_keep(s);
  }
  return omni_is_fast(s) ? omni_leave(s, OMNI_COUNT_kernel_tx_fast) : OMNI_GO_ON;
}

OMNI_INLINE int omni_find_path(struct omni_sealing* s) {
  uint32_t index =
      s->inner.family == 4 ? omni_route4(s->inner.target) : omni_route6(s->inner.target);
  struct omni_kernel_peer* peer = bpf_map_lookup_elem(&omni_peers, &index);
  if (!peer) return omni_leave(s, OMNI_COUNT_kernel_tx_other);
  /* User space cuts it, or tells the host what fits. */
  if (s->bytes > peer->fits) return omni_leave(s, OMNI_COUNT_kernel_tx_large);
  const uint32_t active = peer->active;
  s->peer = peer;
  s->index = index;
  s->interface = peer->interface;
  s->family = peer->family;
  s->port = peer->port;
  __builtin_memcpy(s->remote, peer->remote, 16);
  __builtin_memcpy(s->local, peer->local, 16);
  if (active == 0 || s->interface == 0 || omni_active_again(&peer->active) != active) {
    return omni_leave(s, OMNI_COUNT_kernel_tx_other);
  }
  return OMNI_GO_ON;
}

/* Takes a counter, then the key, then looks whether both belong to the same channel. */
OMNI_INLINE int omni_number(struct omni_sealing* s) {
  const uint32_t place = OMNI_WORK_WIRE;
  struct omni_crypt* c = bpf_map_lookup_elem(&omni_work, &place);
  uint32_t slot = s->peer->tx_slot;
  struct omni_kernel_tx* channel = bpf_map_lookup_elem(&omni_tx, &slot);
  if (!c || !channel) return omni_leave(s, OMNI_COUNT_kernel_tx_other);
  const uint32_t active = channel->active;
  /* A slot that has become another peer's. */
  if (channel->peer != s->index) return omni_leave(s, OMNI_COUNT_kernel_tx_other);
  if (active == 0 || s->now >= channel->reject_at) return omni_leave(s, OMNI_COUNT_kernel_tx_other);
  const uint64_t counter = __sync_fetch_and_add(&channel->counter, 1);
  const uint64_t id = channel->id;
  omni_copy_key(c, channel->key);
  if (omni_active_again(&channel->active) != active || counter >= OMNI_REJECT_AFTER_MESSAGES) {
    return omni_leave(s, OMNI_COUNT_kernel_tx_other);
  }
  c->aad[0] = (uint32_t)id;
  c->aad[1] = (uint32_t)(id >> 32);
  c->aad[2] = c->nonce[0] = (uint32_t)counter;
  c->aad[3] = c->nonce[1] = (uint32_t)(counter >> 32);
  s->work = c;
  return OMNI_GO_ON;
}

/* The sum of the text from `from` to `to`, padded with zeros, on top of `sum`. */
OMNI_GLOBAL int omni_sum_text(struct omni_crypt* c, uint32_t from, uint32_t to, uint32_t sum) {
  if (!c || to > OMNI_KERNEL_TEXT || from > to) return 0;
  uint64_t total = sum;
  uint32_t at = from;
  for (int i = 0; i < OMNI_KERNEL_TEXT / 4; ++i) {
    if (at >= to) break;
    OMNI_OPAQUE(at);
    if (at >= OMNI_KERNEL_TEXT) break;
    total += *(uint32_t*)(c->text + at);
    at += 4;
  }
  return omni_fold(total);
}

/* Finishes the checksum of a TCP or UDP packet, if the host left that to the device: then the field
 * holds the sum of the pseudo header. A packet whose checksum is right, or wrong in another way,
 * stays as it is. */
OMNI_INLINE void omni_finish_checksum(struct omni_sealing* s) {
  struct omni_crypt* c = s->work;
  if (!omni_has_ports(s->inner.protocol)) return;
  const uint32_t header = s->inner.family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
  const uint32_t field = header + (s->inner.protocol == IPPROTO_TCP ? 16 : 6);
  if (s->bytes < field + 2) return;
  uint16_t* check = (uint16_t*)(c->text + field);
  if (*check == 0 && s->inner.protocol == IPPROTO_UDP) return;
  const uint32_t* addresses = (const uint32_t*)(c->text + (header == 20 ? 12 : 8));
  uint64_t pseudo = bpf_htons((uint16_t)(s->bytes - header));
  pseudo += bpf_htons(s->inner.protocol);
  pseudo += (uint64_t)addresses[0] + addresses[1];
  if (header != 20) {
    pseudo += (uint64_t)addresses[2] + addresses[3] + addresses[4] + addresses[5];
    pseudo += (uint64_t)addresses[6] + addresses[7];
  }
  const uint16_t start = omni_fold(pseudo);
  if (*check != start) return;
  const uint16_t sum = (uint16_t)omni_sum_text(c, header, s->bytes, 0);
  if (omni_fold((uint64_t)start + sum) == 0xffff) return; /* it happens to be right */
  /* The field is in the sum, and with it the pseudo header. */
  const uint16_t value = (uint16_t)~sum;
  *check = value == 0 && s->inner.protocol == IPPROTO_UDP ? 0xffff : value;
}

OMNI_INLINE int omni_seal(struct __sk_buff* skb, struct omni_sealing* s) {
  if (omni_read_text(skb, OMNI_AT_TC, 0, s->work, s->bytes))
    return omni_drop(OMNI_DROP_tx_inner_malformed);
  if (omni_pad(s->work, s->bytes) < 0) return omni_drop(OMNI_DROP_tx_inner_malformed);
  omni_finish_checksum(s);
  if (omni_seal_text(s->work, s->bytes)) return omni_drop(OMNI_DROP_tx_inner_malformed);
  return OMNI_GO_ON;
}

/* Makes the packet `bytes` long, of the outer family, with nothing left for a device to finish. An
 * unfinished checksum is forgotten when its place is cut off; the smallest packets are grown first,
 * so that a header's length is left to stand. The content does not matter any more.
 */
#define OMNI_CUT 24
#define OMNI_SMALLEST 60 /* what is cut, a header of IPv4, and room to spare */
OMNI_INLINE int omni_reshape(struct __sk_buff* skb, struct omni_sealing* s, uint32_t bytes) {
  const uint32_t small = s->inner.family == 4 ? OMNI_SMALLEST : OMNI_SMALLEST + 20;
  if (skb->len < small && bpf_skb_change_tail(skb, small, 0)) return 0;
  /* Through IPv4, because a header of IPv6 may not be cut below its length. */
  if (s->inner.family == 6 && bpf_skb_change_proto(skb, bpf_htons(ETH_P_IP), 0)) return 0;
  if (bpf_skb_adjust_room(skb, -OMNI_CUT, BPF_ADJ_ROOM_MAC, 0)) return 0;
  if (s->family == 6 && bpf_skb_change_proto(skb, bpf_htons(ETH_P_IPV6), 0)) return 0;
  if (skb->len >= bytes) return 0;
  return bpf_skb_change_head(skb, bytes - skb->len, 0) == 0;
}

OMNI_INLINE struct udphdr omni_udp_of(const struct omni_sealing* s) {
  const uint16_t bytes = (uint16_t)(sizeof(struct udphdr) + OMNI_DATA_OVERHEAD + s->bytes);
  return (struct udphdr){.source = omni_port, .dest = s->port, .len = bpf_htons(bytes)};
}

/* LIMIT: as the kernel sends itself. */
#define OMNI_HOPS 64

/* The checksum of UDP stays zero: the tag says more, and GRO leaves such datagrams alone. */
OMNI_INLINE int omni_write_head4(struct __sk_buff* skb, struct omni_sealing* s) {
  struct omni_head4* head = &s->work->head4;
  __builtin_memset(head, 0, sizeof(*head));
  head->ip.version = 4;
  head->ip.ihl = 5;
  head->ip.tos = s->inner.traffic_class;
  head->ip.tot_len = bpf_htons((uint16_t)(OMNI_HEAD4 - ETH_HLEN + s->bytes));
  head->ip.frag_off = bpf_htons(0x4000); /* do not fragment */
  head->ip.ttl = OMNI_HOPS;
  head->ip.protocol = IPPROTO_UDP;
  __builtin_memcpy(&head->ip.saddr, s->local, 4);
  __builtin_memcpy(&head->ip.daddr, s->remote, 4);
  uint64_t sum = bpf_htons(0x4500 | s->inner.traffic_class) + (uint64_t)head->ip.tot_len;
  sum += head->ip.frag_off + (uint64_t)bpf_htons(OMNI_HOPS << 8 | IPPROTO_UDP);
  sum += (uint64_t)head->ip.saddr + head->ip.daddr;
  head->ip.check = (uint16_t)~omni_fold(sum);
  head->udp = omni_udp_of(s);
  __builtin_memcpy(head->aad, s->work->aad, sizeof(head->aad));
  __builtin_memcpy(head->tag, s->work->tag, sizeof(head->tag));
  return bpf_skb_store_bytes(skb, 0, &head->ethernet, OMNI_HEAD4, 0) == 0;
}

OMNI_INLINE uint64_t omni_sum4(const void* at) {
  uint32_t words[4];
  __builtin_memcpy(words, at, sizeof(words));
  return (uint64_t)words[0] + words[1] + words[2] + words[3];
}

/* IPv6 knows no UDP without a checksum (RFC 8200, section 8.1). */
OMNI_INLINE int omni_write_head6(struct __sk_buff* skb, struct omni_sealing* s) {
  struct omni_head6* head = &s->work->head6;
  __builtin_memset(head, 0, sizeof(*head));
  head->ip.version = 6;
  head->ip.priority = s->inner.traffic_class >> 4;
  head->ip.flow_lbl[0] = (uint8_t)(s->inner.traffic_class << 4);
  head->ip.nexthdr = IPPROTO_UDP;
  head->ip.hop_limit = OMNI_HOPS;
  __builtin_memcpy(&head->ip.saddr, s->local, 16);
  __builtin_memcpy(&head->ip.daddr, s->remote, 16);
  head->udp = omni_udp_of(s);
  head->ip.payload_len = head->udp.len;
  /* The length stands in the pseudo header and in the real one. */
  uint64_t sum = 2ULL * head->udp.len + bpf_htons(IPPROTO_UDP) + head->udp.source + head->udp.dest;
  sum += omni_sum4(s->local) + omni_sum4(s->remote);
  sum += omni_sum4(s->work->tag) + omni_sum4(s->work->aad);
  const uint16_t check = (uint16_t)~omni_sum_text(s->work, 0, s->bytes, omni_fold(sum));
  head->udp.check = check == 0 ? 0xffff : check;
  __builtin_memcpy(head->aad, s->work->aad, sizeof(head->aad));
  __builtin_memcpy(head->tag, s->work->tag, sizeof(head->tag));
  return bpf_skb_store_bytes(skb, 0, &head->ethernet, OMNI_HEAD6, 0) == 0;
}

OMNI_INLINE int omni_write(struct __sk_buff* skb, struct omni_sealing* s) {
  const uint32_t head = s->family == 4 ? OMNI_HEAD4 : OMNI_HEAD6;
  if (!omni_reshape(skb, s, head + s->bytes)) return omni_drop(OMNI_DROP_tx_kernel_error);
  const int written = s->family == 4 ? omni_write_head4(skb, s) : omni_write_head6(skb, s);
  if (!written || omni_write_text(skb, OMNI_AT_TC, head, s->work, s->bytes)) {
    return omni_drop(OMNI_DROP_tx_kernel_error);
  }
  skb->mark = 0;
  return OMNI_GO_ON;
}

OMNI_INLINE int omni_send(struct __sk_buff* skb) {
  struct omni_sealing s = {.threshold = omni_threshold()};
  if (s.threshold == 0 || !omni_parse_inner(skb, &s.inner)) return OMNI_PASS;
  s.now = bpf_ktime_get_boot_ns();
  int end = omni_check_order(skb, &s);
  if (end == OMNI_GO_ON) end = omni_find_path(&s);
  if (end == OMNI_GO_ON) end = omni_number(&s);
  if (end == OMNI_GO_ON) end = omni_seal(skb, &s);
  if (end == OMNI_GO_ON) end = omni_write(skb, &s);
  if (end != OMNI_GO_ON) return end;
  __sync_fetch_and_add(&s.peer->tx_packets, 1);
  __sync_fetch_and_add(&s.peer->tx_bytes, s.bytes);
  s.peer->last_tx = s.now;
  omni_count(OMNI_COUNT_kernel_tx);
  omni_add(OMNI_COUNT_kernel_tx_bytes, s.bytes);
  return (int)bpf_redirect_neigh(s.interface, 0, 0, 0);
}

#endif /* OMNI_BPF_SEAL_H */
