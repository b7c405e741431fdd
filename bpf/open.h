/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* From the network to the host. A datagram of a control channel that the kernel owns is taken off
 * the wire, at XDP or at TC ingress, and handed to the TUN; everything else goes on untouched.
 *
 *   1. parse      a datagram to our port, session data, a control channel of ours
 *   2. limits     expiry, counter, length
 *   3. open       the tag first, then the replay window, and only then the text
 *   4. peer       confirmation, roaming, activity
 *   5. inner      well-formed, its source belongs to the peer, congestion marks merged
 *   6. deliver    outer headers off, inner packet to the TUN as if it had come in there (deliver.h)
 *
 * A datagram can reach the socket all the same: GRO merged it with others, it came in fragments, or
 * through an interface that is not watched. User space then has the kernel open it
 * (omni_open_again), because the replay window has one owner. What follows such a datagram within a
 * moment takes the same way, so that it does not overtake.
 */
#ifndef OMNI_BPF_OPEN_H
#define OMNI_BPF_OPEN_H

#include <linux/if_packet.h>

#include "bpf/deliver.h"
#include "bpf/outer.h"
#include "bpf/poly1305.h"
#include "bpf/replay.h"

/* What the stages have found out. */
struct omni_opening {
  struct omni_outer outer;
  struct omni_kernel_rx* channel;
  struct omni_crypt* work;
  uint64_t now;
  uint32_t slot;
  uint32_t active;
  uint32_t bytes; /* of the inner packet */
};

/* ECN codepoints (RFC 3168). */
#define OMNI_NOT_ECT 0
#define OMNI_ECT1 1
#define OMNI_ECT0 2
#define OMNI_CE 3

/* Whether the packet is one that this hook may take at all. */
OMNI_INLINE int omni_is_for_us(void* packet, enum omni_way way) {
  if (way == OMNI_AT_XDP) {
    const uint32_t index = omni_interface(packet, way);
    uint32_t place = index % OMNI_KERNEL_XDP_INTERFACES;
    const uint32_t* allowed = bpf_map_lookup_elem(&omni_xdp_interfaces, &place);
    if (!allowed || *allowed != index) return 0;
    /* No control packet is so long that it comes in pieces, and pieces are not cut here. */
    return omni_length(packet, way) == omni_first_piece(packet);
  }
  /* What is for another machine reached a bridge's port, or an interface that hears all. */
  return ((struct __sk_buff*)packet)->pkt_type == PACKET_HOST;
}

OMNI_INLINE int omni_find_channel(void* packet, enum omni_way way, struct omni_opening* o) {
  const uint32_t place = way == OMNI_FROM_USER_SPACE ? OMNI_WORK_AGAIN : OMNI_WORK_WIRE;
  const struct omni_outer* outer = &o->outer;
  o->work = bpf_map_lookup_elem(&omni_work, &place);
  if (!o->work || !omni_is_for_us(packet, way)) return OMNI_PASS;
  if (!omni_parse_outer(packet, way, o->work, &o->outer)) return OMNI_PASS;
  if ((outer->id & 0xff) != OMNI_MSG_DATA) return OMNI_PASS;
  if ((outer->id >> 8 & 0xff) >> OMNI_CHANNEL_KIND_SHIFT != OMNI_CHANNEL_L3_CONTROL) {
    return OMNI_PASS;
  }
  o->slot = omni_slot_of(outer->id);
  o->channel = bpf_map_lookup_elem(&omni_rx, &o->slot);
  if (!o->channel) return OMNI_PASS;
  o->active = o->channel->active;
  if (o->active == 0 || o->channel->id != outer->id) return OMNI_PASS;
  if (!omni_header_is_whole(packet, way, o->work, outer)) return OMNI_PASS;
  o->now = bpf_ktime_get_boot_ns();
  if (way == OMNI_FROM_USER_SPACE) return OMNI_GO_ON;
  if (way == OMNI_AT_TC && ((struct __sk_buff*)packet)->gso_segs > 1) {
    o->channel->slow_until = o->now + omni_guard_ns;
    return OMNI_PASS;
  }
  if (o->now < o->channel->slow_until) return OMNI_PASS;
  /* Where the driver keeps no mark with a frame, TC opens it. */
  return way == OMNI_AT_XDP && !omni_make_mark(packet, o->channel->peer) ? OMNI_PASS : OMNI_GO_ON;
}

OMNI_INLINE int omni_check_limits(struct omni_opening* o) {
  if (o->now >= o->channel->reject_at) return omni_drop(OMNI_DROP_rx_session_expired);
  if (o->outer.counter >= OMNI_REJECT_AFTER_MESSAGES) return omni_drop(OMNI_DROP_rx_counter_limit);
  o->bytes = o->outer.payload_bytes - OMNI_DATA_OVERHEAD;
  if (o->bytes > OMNI_KERNEL_TEXT) return omni_drop(OMNI_DROP_rx_oversized);
  return OMNI_GO_ON;
}

OMNI_INLINE int omni_load(void* packet, enum omni_way way, struct omni_opening* o) {
  struct omni_crypt* c = o->work;
  const uint32_t at = o->outer.payload + OMNI_DATA_OVERHEAD;
  if (o->bytes > 0 && omni_read_text(packet, way, at, c, o->bytes)) {
    return omni_drop(OMNI_DROP_rx_truncated);
  }
  c->aad[0] = (uint32_t)o->outer.id;
  c->aad[1] = (uint32_t)(o->outer.id >> 32);
  c->aad[2] = c->nonce[0] = (uint32_t)o->outer.counter;
  c->aad[3] = c->nonce[1] = (uint32_t)(o->outer.counter >> 32);
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

OMNI_INLINE void omni_tell(uint32_t interface, const struct omni_opening* o, uint32_t type) {
  struct omni_kernel_event* event = bpf_ringbuf_reserve(&omni_events, sizeof(*event), 0);
  if (!event) return; /* full of such events; the next packet tells */
  event->channel_id = o->outer.id;
  event->type = type;
  event->interface = interface;
  event->family = o->outer.family;
  event->port = o->outer.source_port;
  event->reserved = 0;
  __builtin_memcpy(event->remote, o->outer.source, 16);
  __builtin_memcpy(event->local, o->outer.target, 16);
  bpf_ringbuf_submit(event, 0);
}

OMNI_INLINE void omni_update_peer(uint32_t interface, const struct omni_opening* o,
                                  enum omni_verdict verdict) {
  struct omni_kernel_rx* channel = o->channel;
  if (channel->confirmed == 0) {
    channel->confirmed = 1;
    omni_tell(interface, o, OMNI_KERNEL_CONFIRMED);
  }
  uint32_t index = channel->peer;
  const struct omni_kernel_peer* peer = bpf_map_lookup_elem(&omni_peers, &index);
  if (!peer || peer->active == 0 || verdict != OMNI_NEWEST) return;
  if (!omni_is_from_peer(&o->outer, peer)) omni_tell(interface, o, OMNI_KERNEL_ROAMED);
}

/* The tag, the window, the peer, the text: in this order. */
OMNI_INLINE int omni_open(void* packet, enum omni_way way, struct omni_opening* o) {
  if (!omni_tag_is_right(o->work, o->bytes, o->outer.tag)) return omni_drop(OMNI_DROP_rx_bad_tag);
  struct omni_kernel_window* window = bpf_map_lookup_elem(&omni_windows, &o->slot);
  if (!window) return OMNI_DROP;
  const struct omni_arrival arrival = {
      .channel_id = o->outer.id, .counter = o->outer.counter, .bytes = o->bytes, .at = o->now};
  const enum omni_verdict verdict = omni_accept(window, o->channel, &arrival);
  if (verdict == OMNI_REPLAYED) return omni_drop(OMNI_DROP_rx_replayed);
  omni_update_peer(omni_interface(packet, way), o, verdict);
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

/* How the packet ends: OMNI_PASS, OMNI_DROP, or what omni_deliver() and its like say. */
OMNI_INLINE int omni_receive(void* packet, enum omni_way way) {
  struct omni_opening o = {};
  int end = omni_find_channel(packet, way, &o);
  if (end == OMNI_GO_ON) end = omni_check_limits(&o);
  if (end == OMNI_GO_ON) end = omni_load(packet, way, &o);
  if (end == OMNI_GO_ON) end = omni_open(packet, way, &o);
  if (end == OMNI_GO_ON) end = omni_check_inner(&o);
  if (end != OMNI_GO_ON) return end;
  end = way == OMNI_AT_XDP ? omni_deliver_frame(packet, o.work, o.bytes, o.channel->peer)
                           : omni_deliver(packet, o.work, o.bytes, o.outer.family);
  if (end == OMNI_DROP) return end;
  o.channel->last_data_rx = o.now;
  omni_count(way == OMNI_FROM_USER_SPACE ? OMNI_COUNT_kernel_rx_slow : OMNI_COUNT_kernel_rx);
  if (way == OMNI_AT_XDP) omni_count(OMNI_COUNT_kernel_rx_xdp);
  omni_add(OMNI_COUNT_kernel_rx_bytes, o.bytes);
  return end;
}

#endif /* OMNI_BPF_OPEN_H */
