/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the network to the host. A datagram of a control channel that the kernel owns is taken off
 * the wire at TC ingress and handed to the TUN; everything else goes on untouched.
 *
 *   1. parse      a datagram to our port, session data, a control channel of ours
 *   2. limits     expiry, counter, length
 *   3. open       the tag first, then the replay window, and only then the text
 *   4. peer       confirmation, roaming, activity
 *   5. inner      well-formed, its source belongs to the peer, congestion marks merged
 *   6. deliver    outer headers off, inner packet to the TUN as if it had come in there
 *
 * A datagram can reach the socket all the same: GRO merged it with others, it came in fragments, or
 * through an interface that is not watched. User space then has the kernel open it
 * (omni_open_again), because the replay window has one owner. What follows such a datagram within a
 * moment takes the same way, so that it does not overtake.
 */
#ifndef OMNI_BPF_OPEN_H
#define OMNI_BPF_OPEN_H

#include "bpf/parse.h"
#include "bpf/poly1305.h"
#include "bpf/replay.h"

enum omni_way { OMNI_FROM_WIRE, OMNI_FROM_USER_SPACE };

/* What the stages have found out. */
struct omni_opening {
  struct omni_outer outer;
  struct omni_kernel_rx* channel;
  struct omni_crypt* work;
  uint64_t id;
  uint64_t counter;
  uint64_t now;
  uint32_t slot;
  uint32_t active;
  uint32_t bytes; /* of the inner packet */
  uint32_t tag[4];
};

/* ECN codepoints (RFC 3168). */
#define OMNI_NOT_ECT 0
#define OMNI_ECT1 1
#define OMNI_ECT0 2
#define OMNI_CE 3

/* A stage gives 0 to go on, or how the packet ends. */
#define OMNI_GO_ON 0
#define OMNI_PASS (-1) /* TC_ACT_UNSPEC: whatever comes next may have it */
#define OMNI_DROP 2    /* TC_ACT_SHOT */

OMNI_INLINE int omni_drop(enum omni_drop_reason reason) {
  omni_count(reason);
  return OMNI_DROP;
}

OMNI_INLINE int omni_find_channel(struct __sk_buff* skb, struct omni_opening* o,
                                  enum omni_way way) {
  /* What is for another machine reached a bridge's port, or an interface that hears all. */
  if (skb->pkt_type != PACKET_HOST || !omni_parse_outer(skb, &o->outer)) return OMNI_PASS;
  uint64_t words[2];
  if (o->outer.payload_bytes < OMNI_DATA_OVERHEAD) return OMNI_PASS;
  if (bpf_skb_load_bytes(skb, o->outer.payload, words, sizeof(words))) return OMNI_PASS;
  o->id = words[0];
  o->counter = words[1];
  if ((o->id & 0xff) != OMNI_MSG_DATA) return OMNI_PASS;
  if ((o->id >> 8 & 0xff) >> OMNI_CHANNEL_KIND_SHIFT != OMNI_CHANNEL_L3_CONTROL) return OMNI_PASS;
  const uint32_t* slot = bpf_map_lookup_elem(&omni_rx_slots, &o->id);
  if (!slot) return OMNI_PASS;
  o->slot = *slot;
  o->channel = bpf_map_lookup_elem(&omni_rx, &o->slot);
  if (!o->channel) return OMNI_PASS;
  o->active = o->channel->active;
  if (o->active == 0 || o->channel->id != o->id) return OMNI_PASS;
  if (!omni_header_is_whole(skb, &o->outer)) return OMNI_PASS;
  o->now = bpf_ktime_get_boot_ns();
  if (way == OMNI_FROM_USER_SPACE) return OMNI_GO_ON;
  if (skb->gso_segs > 1) {
    o->channel->slow_until = o->now + omni_guard_ns;
    return OMNI_PASS;
  }
  return o->now < o->channel->slow_until ? OMNI_PASS : OMNI_GO_ON;
}

OMNI_INLINE int omni_check_limits(struct omni_opening* o) {
  if (o->now >= o->channel->reject_at) return omni_drop(OMNI_DROP_rx_session_expired);
  if (o->counter >= OMNI_REJECT_AFTER_MESSAGES) return omni_drop(OMNI_DROP_rx_counter_limit);
  o->bytes = o->outer.payload_bytes - OMNI_DATA_OVERHEAD;
  if (o->bytes > OMNI_KERNEL_TEXT) return omni_drop(OMNI_DROP_rx_oversized);
  return OMNI_GO_ON;
}

OMNI_INLINE int omni_load(struct __sk_buff* skb, struct omni_opening* o, enum omni_way way) {
  const uint32_t place = way == OMNI_FROM_WIRE ? OMNI_WORK_WIRE : OMNI_WORK_AGAIN;
  struct omni_crypt* c = bpf_map_lookup_elem(&omni_work, &place);
  if (!c) return OMNI_DROP;
  o->work = c;
  const uint32_t at = o->outer.payload;
  if (bpf_skb_load_bytes(skb, at, c->aad, sizeof(c->aad)) ||
      bpf_skb_load_bytes(skb, at + OMNI_DATA_AAD_BYTES, o->tag, sizeof(o->tag))) {
    return omni_drop(OMNI_DROP_rx_truncated);
  }
  if (o->bytes > 0 && omni_read_text(skb, at + OMNI_DATA_OVERHEAD, c, o->bytes)) {
    return omni_drop(OMNI_DROP_rx_truncated);
  }
  c->nonce[0] = c->aad[2];
  c->nonce[1] = c->aad[3];
  omni_copy_key(c, o->channel->key);
  if (omni_active_again(&o->channel->active) != o->active) return OMNI_PASS;
  return OMNI_GO_ON;
}

OMNI_INLINE int omni_is_from_peer(const struct omni_outer* outer,
                                  const struct omni_kernel_peer* p) {
  if (outer->family != p->family || outer->source_port != p->port) return 0;
  const uint64_t *source = (const uint64_t*)p->remote, *target = (const uint64_t*)p->local;
  uint64_t words[4];
  __builtin_memcpy(words, outer->source, 16);
  __builtin_memcpy(words + 2, outer->target, 16);
  /* A peer whose datagrams have not told our address yet has none here. */
  if ((target[0] | target[1]) == 0) words[2] = words[3] = 0;
  return ((words[0] ^ source[0]) | (words[1] ^ source[1]) | (words[2] ^ target[0]) |
          (words[3] ^ target[1])) == 0;
}

OMNI_INLINE void omni_tell(struct __sk_buff* skb, const struct omni_opening* o, uint32_t type) {
  struct omni_kernel_event* event = bpf_ringbuf_reserve(&omni_events, sizeof(*event), 0);
  if (!event) return; /* full of such events; the next packet tells */
  event->channel_id = o->id;
  event->type = type;
  event->interface = skb->ingress_ifindex;
  event->family = o->outer.family;
  event->port = o->outer.source_port;
  event->reserved = 0;
  __builtin_memcpy(event->remote, o->outer.source, 16);
  __builtin_memcpy(event->local, o->outer.target, 16);
  bpf_ringbuf_submit(event, 0);
}

OMNI_INLINE void omni_update_peer(struct __sk_buff* skb, const struct omni_opening* o,
                                  enum omni_verdict verdict) {
  struct omni_kernel_rx* channel = o->channel;
  __sync_fetch_and_add(&channel->packets, 1);
  __sync_fetch_and_add(&channel->bytes, o->bytes);
  channel->last_rx = o->now;
  if (channel->confirmed == 0) {
    channel->confirmed = 1;
    omni_tell(skb, o, OMNI_KERNEL_CONFIRMED);
  }
  uint32_t index = channel->peer;
  const struct omni_kernel_peer* peer = bpf_map_lookup_elem(&omni_peers, &index);
  if (!peer || peer->active == 0 || verdict != OMNI_NEWEST) return;
  if (!omni_is_from_peer(&o->outer, peer)) omni_tell(skb, o, OMNI_KERNEL_ROAMED);
}

/* The tag, the window, the peer, the text: in this order. */
OMNI_INLINE int omni_open(struct __sk_buff* skb, struct omni_opening* o) {
  if (!omni_tag_is_right(o->work, o->bytes, o->tag)) return omni_drop(OMNI_DROP_rx_bad_tag);
  struct omni_kernel_window* window = bpf_map_lookup_elem(&omni_windows, &o->slot);
  if (!window) return OMNI_DROP;
  const enum omni_verdict verdict = omni_accept(window, o->id, o->counter);
  if (verdict == OMNI_REPLAYED) return omni_drop(OMNI_DROP_rx_replayed);
  omni_update_peer(skb, o, verdict);
  if (o->bytes == 0) return OMNI_DROP; /* a keepalive has no more to say */
  omni_crypt_text(o->work, o->bytes);
  return OMNI_GO_ON;
}

/* RFC 6040, normal mode: the ECN field inside after decapsulation, or -1: drop. */
OMNI_INLINE int omni_merge_ecn(uint8_t inner, uint8_t outer) {
  inner &= 3;
  outer &= 3;
  if (outer == OMNI_CE) return inner == OMNI_NOT_ECT ? -1 : OMNI_CE;
  if (outer == OMNI_ECT1 && inner == OMNI_ECT0) return OMNI_ECT1;
  return inner;
}

OMNI_INLINE int omni_check_inner4(struct omni_opening* o) {
  struct iphdr* ip = (struct iphdr*)o->work->text;
  const uint32_t header = ip->ihl * 4U;
  if (o->bytes < sizeof(*ip) || header < sizeof(*ip) || header > o->bytes ||
      bpf_ntohs(ip->tot_len) != o->bytes) {
    return omni_drop(OMNI_DROP_rx_inner_malformed);
  }
  uint8_t source[4];
  __builtin_memcpy(source, &ip->saddr, 4);
  if (omni_route4(source) != o->channel->peer) return omni_drop(OMNI_DROP_rx_inner_source);
  const int ecn = omni_merge_ecn(ip->tos, o->outer.traffic_class);
  if (ecn < 0) return omni_drop(OMNI_DROP_rx_ecn);
  const uint8_t tos = (uint8_t)((ip->tos & ~3) | ecn);
  if (tos == ip->tos) return OMNI_GO_ON;
  /* RFC 1624: only the byte of the traffic class differs in the first word. */
  const uint16_t before = bpf_ntohs(*(uint16_t*)ip);
  ip->tos = tos;
  const uint64_t sum =
      (uint16_t)~bpf_ntohs(ip->check) + (uint64_t)(uint16_t)~before + bpf_ntohs(*(uint16_t*)ip);
  ip->check = bpf_htons((uint16_t)~omni_fold(sum));
  return OMNI_GO_ON;
}

OMNI_INLINE int omni_check_inner6(struct omni_opening* o) {
  struct ipv6hdr* ip = (struct ipv6hdr*)o->work->text;
  if (o->bytes < sizeof(*ip) || bpf_ntohs(ip->payload_len) + sizeof(*ip) != o->bytes) {
    return omni_drop(OMNI_DROP_rx_inner_malformed);
  }
  uint8_t source[16];
  __builtin_memcpy(source, &ip->saddr, 16);
  if (omni_route6(source) != o->channel->peer) return omni_drop(OMNI_DROP_rx_inner_source);
  const int ecn = omni_merge_ecn(ip->flow_lbl[0] >> 4, o->outer.traffic_class);
  if (ecn < 0) return omni_drop(OMNI_DROP_rx_ecn);
  ip->flow_lbl[0] = (uint8_t)((ip->flow_lbl[0] & 0xcf) | ecn << 4);
  return OMNI_GO_ON;
}

OMNI_INLINE int omni_check_inner(struct omni_opening* o) {
  const uint8_t version = o->work->text[0] >> 4;
  if (version == 4) return omni_check_inner4(o);
  if (version == 6) return omni_check_inner6(o);
  return omni_drop(OMNI_DROP_rx_inner_malformed);
}

/* Makes the packet what the work space holds, behind an Ethernet header. */
OMNI_INLINE int omni_strip(struct __sk_buff* skb, struct omni_opening* o) {
  const uint16_t family = o->work->text[0] >> 4;
  /* Changes the family, and the length by the difference of the two headers. */
  if (family != o->outer.family &&
      bpf_skb_change_proto(skb, bpf_htons(family == 4 ? ETH_P_IP : ETH_P_IPV6), 0)) {
    return omni_drop(OMNI_DROP_rx_tun_error);
  }
  const int surplus = (int)skb->len - ETH_HLEN - (int)o->bytes;
  if (surplus <= 0 || bpf_skb_adjust_room(skb, -surplus, BPF_ADJ_ROOM_MAC, 0)) {
    return omni_drop(OMNI_DROP_rx_tun_error);
  }
  if (omni_write_text(skb, ETH_HLEN, o->work, o->bytes)) return omni_drop(OMNI_DROP_rx_tun_error);
  skb->mark = 0;
  bpf_set_hash_invalid(skb);
  return OMNI_GO_ON;
}

OMNI_INLINE int omni_receive(struct __sk_buff* skb, enum omni_way way) {
  struct omni_opening o = {};
  int end = omni_find_channel(skb, &o, way);
  if (end == OMNI_GO_ON) end = omni_check_limits(&o);
  if (end == OMNI_GO_ON) end = omni_load(skb, &o, way);
  if (end == OMNI_GO_ON) end = omni_open(skb, &o);
  if (end == OMNI_GO_ON) end = omni_check_inner(&o);
  if (end == OMNI_GO_ON) end = omni_strip(skb, &o);
  if (end != OMNI_GO_ON) return end;
  o.channel->last_data_rx = o.now;
  omni_count(way == OMNI_FROM_WIRE ? OMNI_COUNT_kernel_rx : OMNI_COUNT_kernel_rx_slow);
  return (int)bpf_redirect(omni_tun, BPF_F_INGRESS);
}

#endif /* OMNI_BPF_OPEN_H */
