/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Session data of one peer for another (docs/SIGNALING.md, section 12), at XDP in the driver. What
 * user space does with it in dataplane/core/forwarder.cc and common/relay, in the same order:
 *
 *   1. judge    open, from where its sender is, its counter new, within the quotas; or dropped
 *   2. fit      a plain frame in one piece, and a way out that user space has found; or it passes
 *   3. rewrite  as a datagram of our own: addresses, ports, hop limit, checksums
 *   4. send     by the interface it came on, or another one
 *
 * It judges all that it sees of such a channel, also what it then leaves to user space, which
 * judges that once more with a window and buckets of its own: so nothing goes through XDP twice, or
 * through XDP and then, left with options or tags, through user space.
 *
 * User space finds the way out, to the Ethernet address (dataplane/xdp/hop_finder.cc). The kernel's
 * bpf_fib_lookup() would not do: it refuses where the host does not forward packets by itself, with
 * BPF_FIB_LOOKUP_OUTPUT as well (tried on Linux 6.18), and a node that relays is no router.
 */
#ifndef OMNI_BPF_RELAY_H
#define OMNI_BPF_RELAY_H

#include "bpf/frame.h"
#include "bpf/verdict.h"
#include "bpf/window.h"

/* Set before loading. */
const volatile uint16_t omni_steer_port = 0; /* our UDP port, network order */

/* Channels of others, by id. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, OMNI_STEER_RELAYS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, uint64_t);
  __type(value, struct omni_steer_relay);
} steer_relays SEC(".maps");

/* Their replay windows. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, OMNI_STEER_RELAYS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, uint64_t);
  __type(value, struct omni_steer_window);
} steer_relay_windows SEC(".maps");

/* When the bucket of a pair is full again, by its number. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, OMNI_STEER_RELAYS);
  __type(key, uint32_t);
  __type(value, uint64_t);
} steer_relay_pairs SEC(".maps");

/* The same of all pairs together. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, uint64_t);
} steer_relay_total SEC(".maps");

/* What a checksum is made over, piece by piece. */
#define OMNI_RELAY_PIECE 256
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, uint8_t[OMNI_RELAY_PIECE]);
} steer_relay_piece SEC(".maps");

/* An address, in pieces that the structures here align. */
struct omni_words {
  uint32_t word[4];
};
OMNI_INLINE struct omni_words omni_words_of(const uint8_t* address) {
  struct omni_words out;
  __builtin_memcpy(&out, __builtin_assume_aligned(address, 4), sizeof(out));
  return out;
}

/* ---- 1. judge */

OMNI_INLINE int omni_is_sender(const struct omni_steer_relay* relay,
                               const struct omni_datagram* d) {
  const struct omni_words wanted = omni_words_of(relay->from);
  const struct omni_words is = omni_words_of(d->source.bytes);
  return relay->from_family == d->source.family && relay->from_port == d->source_port &&
         is.word[0] == wanted.word[0] && is.word[1] == wanted.word[1] &&
         is.word[2] == wanted.word[2] && is.word[3] == wanted.word[3];
}

/* Whether the counter is new; then it is remembered. Negative: the channel was
 * closed this very moment. */
OMNI_GLOBAL int omni_is_new(uint64_t id, uint64_t counter) {
  struct omni_steer_window* w = bpf_map_lookup_elem(&steer_relay_windows, &id);
  if (!w) return -1;
  enum omni_verdict verdict = OMNI_REPLAYED;
  bpf_spin_lock(&w->lock);
  if (w->id == id) {
    verdict = omni_see(&w->next, w->words, OMNI_STEER_RELAY_WORDS, counter);
  }
  bpf_spin_unlock(&w->lock);
  return verdict != OMNI_REPLAYED;
}

#define OMNI_SECOND_NS 1000000000ULL
/* LIMIT: as in common/relay/relay.cc: a quarter of a second's at once, a super-packet at least. */
#define OMNI_RELAY_LEAST_BURST 65536ULL

/* LIMIT: other CPUs that are met at one bucket; a packet that meets more of them is beyond it. */
#define OMNI_RELAY_TRIES 8

/* Takes so many bytes out of a bucket (RelayQuota::Take): see rate.h. */
OMNI_INLINE int omni_take_bytes(uint64_t* full_at, uint64_t now, uint64_t bytes, uint64_t rate) {
  if (rate == 0) return 0;
  const uint64_t cost = (bytes * OMNI_SECOND_NS + rate - 1) / rate;
  const uint64_t least = (OMNI_RELAY_LEAST_BURST * OMNI_SECOND_NS + rate - 1) / rate;
  const uint64_t latest = now + (least > OMNI_SECOND_NS / 4 ? least : OMNI_SECOND_NS / 4);
  for (int i = 0; i < OMNI_RELAY_TRIES; ++i) {
    const uint64_t was = *(volatile uint64_t*)full_at;
    const uint64_t then = (was > now ? was : now) + cost;
    if (then > latest) return 0;
    if (__sync_val_compare_and_swap(full_at, was, then) == was) return 1;
  }
  return 0;
}

OMNI_INLINE int omni_within_quota(const struct omni_steer_relay* relay, uint64_t now,
                                  uint64_t bytes) {
  const uint32_t pair = relay->pair;
  uint64_t* full_at = bpf_map_lookup_elem(&steer_relay_pairs, &pair);
  if (!full_at) {
    const uint64_t full = 0;
    bpf_map_update_elem(&steer_relay_pairs, &pair, &full, BPF_NOEXIST);
    full_at = bpf_map_lookup_elem(&steer_relay_pairs, &pair);
  }
  const uint32_t all = 0;
  uint64_t* total = bpf_map_lookup_elem(&steer_relay_total, &all);
  return full_at && total && omni_take_bytes(full_at, now, bytes, relay->pair_bytes_per_s) &&
         omni_take_bytes(total, now, bytes, relay->total_bytes_per_s);
}

/* XDP_PASS: it may go on. */
OMNI_INLINE int omni_judge(struct xdp_md* ctx, const struct omni_steer_relay* relay,
                           const struct omni_datagram* d, uint64_t id) {
  const uint64_t now = bpf_ktime_get_boot_ns();
  uint64_t counter;
  if (now >= relay->expires) return omni_drop_as(OMNI_DROP_rx_unknown_channel);
  if (!omni_is_sender(relay, d)) return omni_drop_as(OMNI_DROP_rx_relay_source);
  if (bpf_xdp_load_bytes(ctx, d->payload + 8, &counter, sizeof(counter))) {
    return omni_drop_as(OMNI_DROP_rx_truncated);
  }
  /* Before the quota: a replay must not cost the pair anything. */
  const int is_new = omni_is_new(id, counter);
  if (is_new < 0) return omni_drop_as(OMNI_DROP_rx_unknown_channel);
  if (is_new == 0) return omni_drop_as(OMNI_DROP_rx_relay_replayed);
  if (!omni_within_quota(relay, now, d->payload_bytes)) {
    return omni_drop_as(OMNI_DROP_rx_relay_quota);
  }
  return XDP_PASS;
}

/* ---- 3. rewrite */

/* LIMIT: as the kernel sends itself. */
#define OMNI_RELAY_HOPS 64

/* LIMIT: 9,216 bytes, jumbo frames. */
#define OMNI_RELAY_PIECES 36
#define OMNI_RELAY_NO_SUM 0x10000

/* The sum over `bytes` of the frame from `at` on. OMNI_RELAY_NO_SUM: it cannot be told. */
OMNI_GLOBAL int omni_sum_frame(struct xdp_md* ctx, uint32_t at, uint32_t bytes) {
  const uint32_t only = 0;
  uint8_t* piece = bpf_map_lookup_elem(&steer_relay_piece, &only);
  if (!piece) return OMNI_RELAY_NO_SUM;
  long sum = 0;
  for (int i = 0; i < OMNI_RELAY_PIECES; ++i) {
    if (bytes < OMNI_RELAY_PIECE) break;
    if (bpf_xdp_load_bytes(ctx, at, piece, OMNI_RELAY_PIECE)) return OMNI_RELAY_NO_SUM;
    sum = bpf_csum_diff(0, 0, (uint32_t*)piece, OMNI_RELAY_PIECE, (uint32_t)sum);
    at += OMNI_RELAY_PIECE;
    bytes -= OMNI_RELAY_PIECE;
  }
  if (bytes > 0) {
    uint32_t less = bytes - 1;
    OMNI_OPAQUE(less);
    if (less >= OMNI_RELAY_PIECE) return OMNI_RELAY_NO_SUM;
    __builtin_memset(piece, 0, OMNI_RELAY_PIECE);
    if (bpf_xdp_load_bytes(ctx, at, piece, less + 1)) return OMNI_RELAY_NO_SUM;
    sum = bpf_csum_diff(0, 0, (uint32_t*)piece, OMNI_RELAY_PIECE, (uint32_t)sum);
  }
  return omni_fold((uint64_t)sum);
}

/* The checksum of UDP after addresses and ports that summed up to `was` sum up to `is`. Zero stays
 * (IPv4 alone has it). What holds the sum of the pseudo header came from a host that leaves the
 * rest to its device, over a veth: it is made here. Else only the difference is put in (RFC 1624),
 * so that what was wrong stays wrong. Negative: it cannot be made. */
OMNI_INLINE int omni_relay_check(struct xdp_md* ctx, const struct omni_datagram* d, uint16_t check,
                                 uint64_t ports_were, uint64_t addresses_were, uint64_t is) {
  if (check == 0) return 0;
  const uint16_t bytes = bpf_htons((uint16_t)(d->payload_bytes + sizeof(struct udphdr)));
  const uint64_t pseudo = (uint64_t)bytes + bpf_htons(IPPROTO_UDP);
  uint16_t out;
  if (check == omni_fold(addresses_were + pseudo)) {
    const int text = omni_sum_frame(ctx, d->payload, d->payload_bytes);
    if (text == OMNI_RELAY_NO_SUM) return -1;
    out = (uint16_t)~omni_fold(is + pseudo + bytes + (uint64_t)text);
  } else {
    const uint16_t was = omni_fold(ports_were + addresses_were);
    out = (uint16_t)~omni_fold((uint64_t)(uint16_t)~check + (uint16_t)~was + is);
  }
  return out == 0 ? 0xffff : out;
}

OMNI_INLINE uint64_t omni_sum_address(const uint8_t* address) {
  const struct omni_words words = omni_words_of(address);
  return (uint64_t)words.word[0] + words.word[1] + words.word[2] + words.word[3];
}

/* What the new header says of addresses and ports. */
OMNI_INLINE uint64_t omni_sum_new(const struct omni_steer_relay* relay) {
  return omni_sum_address(relay->local) + omni_sum_address(relay->to) + omni_steer_port +
         relay->to_port;
}

OMNI_INLINE uint64_t omni_sum_old(const struct omni_datagram* d) {
  return omni_sum_address(d->source.bytes) + omni_sum_address(d->target.bytes);
}

OMNI_INLINE void omni_write_ethernet(struct ethhdr* ethernet,
                                     const struct omni_steer_relay* relay) {
  __builtin_memcpy(ethernet->h_dest, relay->to_mac, ETH_ALEN);
  __builtin_memcpy(ethernet->h_source, relay->local_mac, ETH_ALEN);
}

OMNI_INLINE uint16_t omni_sum_ipv4(const struct iphdr* ip) {
  uint32_t words[5];
  __builtin_memcpy(words, ip, sizeof(words));
  return omni_fold((uint64_t)words[0] + words[1] + words[2] + words[3] + words[4]);
}

/* As bpf/seal.h writes a header: no fragment ever, so its id means nothing (RFC 6864). */
OMNI_INLINE void omni_write_ipv4(struct iphdr* ip, const struct omni_steer_relay* relay) {
  ip->id = 0;
  ip->frag_off = bpf_htons(0x4000); /* do not fragment */
  ip->ttl = OMNI_RELAY_HOPS;
  ip->check = 0;
  __builtin_memcpy(&ip->saddr, relay->local, 4);
  __builtin_memcpy(&ip->daddr, relay->to, 4);
  ip->check = (uint16_t)~omni_sum_ipv4(ip);
}

OMNI_INLINE int omni_rewrite4(struct xdp_md* ctx, const struct omni_steer_relay* relay,
                              const struct omni_datagram* d) {
  uint8_t* data = (void*)(long)ctx->data;
  struct iphdr* ip = (void*)(data + ETH_HLEN);
  struct udphdr* udp = (void*)(ip + 1);
  if ((void*)(udp + 1) > (void*)(long)ctx->data_end) return 0;
  if (omni_sum_ipv4(ip) != 0xffff) return 0; /* damaged: not to be mended here */
  const uint64_t ports = (uint64_t)udp->source + udp->dest;
  const int check =
      omni_relay_check(ctx, d, udp->check, ports, omni_sum_old(d), omni_sum_new(relay));
  if (check < 0) return 0;
  omni_write_ethernet((void*)data, relay);
  omni_write_ipv4(ip, relay);
  udp->source = omni_steer_port;
  udp->dest = relay->to_port;
  udp->check = (uint16_t)check;
  return 1;
}

OMNI_INLINE int omni_rewrite6(struct xdp_md* ctx, const struct omni_steer_relay* relay,
                              const struct omni_datagram* d) {
  uint8_t* data = (void*)(long)ctx->data;
  struct ipv6hdr* ip = (void*)(data + ETH_HLEN);
  struct udphdr* udp = (void*)(ip + 1);
  if ((void*)(udp + 1) > (void*)(long)ctx->data_end) return 0;
  /* IPv6 knows no UDP without a checksum (RFC 8200, section 8.1). */
  if (udp->check == 0) return 0;
  const uint64_t ports = (uint64_t)udp->source + udp->dest;
  const int check =
      omni_relay_check(ctx, d, udp->check, ports, omni_sum_old(d), omni_sum_new(relay));
  if (check < 0) return 0;
  omni_write_ethernet((void*)data, relay);
  ip->flow_lbl[0] &= 0xf0; /* the traffic class, but not the label of another's flow */
  ip->flow_lbl[1] = ip->flow_lbl[2] = 0;
  ip->hop_limit = OMNI_RELAY_HOPS;
  __builtin_memcpy(&ip->saddr, relay->local, 16);
  __builtin_memcpy(&ip->daddr, relay->to, 16);
  udp->source = omni_steer_port;
  udp->dest = relay->to_port;
  udp->check = (uint16_t)check;
  return 1;
}

/* ---- 2. fit, and all of it */

/* No tags, options or extension headers, in one piece, with nothing behind the datagram that quotas
 * would not see, no longer than the way out takes, of one family on both sides. */
OMNI_INLINE int omni_is_plain(struct xdp_md* ctx, const struct omni_steer_relay* relay,
                              const struct omni_datagram* d) {
  const uint32_t header = d->source.family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
  const uint32_t head = ETH_HLEN + header + sizeof(struct udphdr);
  return relay->interface != 0 && relay->to_family == d->source.family && d->payload == head &&
         head - ETH_HLEN + d->payload_bytes <= relay->mtu &&
         d->payload + d->payload_bytes == bpf_xdp_get_buff_len(ctx) &&
         bpf_xdp_get_buff_len(ctx) == (uint64_t)(ctx->data_end - ctx->data);
}

/* A datagram of a channel of others. XDP_PASS: it is as it came, and user space's. Looked at once
 * by the verifier, whatever headers were in front of it. */
OMNI_GLOBAL int omni_relay(struct xdp_md* ctx, const struct omni_datagram* d, uint64_t id) {
  if (!d) return XDP_PASS;
  const struct omni_steer_relay* relay = bpf_map_lookup_elem(&steer_relays, &id);
  if (!relay) return omni_pass_as(OMNI_STEER_xdp_relay_left);
  const int verdict = omni_judge(ctx, relay, d, id);
  if (verdict != XDP_PASS) return verdict;
  if (!omni_is_plain(ctx, relay, d)) return omni_pass_as(OMNI_STEER_xdp_relay_left);
  const int written =
      d->source.family == 4 ? omni_rewrite4(ctx, relay, d) : omni_rewrite6(ctx, relay, d);
  if (!written) return omni_pass_as(OMNI_STEER_xdp_relay_left);
  omni_note(OMNI_STEER_xdp_relayed, 1);
  omni_note(OMNI_STEER_xdp_relayed_bytes, d->payload_bytes);
  if (relay->interface == ctx->ingress_ifindex && !relay->redirects) return XDP_TX;
  return (int)bpf_redirect(relay->interface, 0);
}

#endif /* OMNI_BPF_RELAY_H */
