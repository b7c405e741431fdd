/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* XDP on the underlay interfaces: floods end here, session data goes to AF_XDP sockets where there
 * are any, control channels may be opened here. Everything else passes untouched.
 *
 *   1. parse      a whole datagram to our port at one of our addresses
 *   2. handshake  of the right size, at the rate that its source prefix may have
 *   3. data       longer than its header, of a channel that exists
 *   4. relay      channels of others: judged, and sent on from here (relay.h)
 *   5. give       bulk channels to the AF_XDP socket of the queue if their worker owns it; control
 *                 channels to the program that opens them here, where there is one; everything
 *                 else to the kernel
 *
 * STUN, QUIC and unknown kinds of messages are user space's to judge. dataplane/xdp loads it.
 */
#include "bpf/frame.h"
#include "bpf/rate.h"
#include "bpf/relay.h"

/* Addresses at which we are spoken to. The value means nothing. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, OMNI_STEER_ADDRESSES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct omni_steer_address);
  __type(value, uint8_t);
} steer_addresses SEC(".maps");

/* Channels that we receive or relay, by id: an omni_steer_use. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, OMNI_STEER_CHANNELS);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, uint64_t);
  __type(value, uint8_t);
} steer_channels SEC(".maps");

/* When the bucket of a source prefix is full again (bpf/rate.h). */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, OMNI_STEER_SOURCES);
  __type(key, struct omni_steer_source);
  __type(value, uint64_t);
} steer_sources SEC(".maps");

/* The same for all sources together. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, uint64_t);
} steer_total SEC(".maps");

/* Interfaces with AF_XDP sockets, by interface index. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, OMNI_STEER_INTERFACES);
  __type(key, uint32_t);
  __type(value, struct omni_steer_interface);
} steer_interfaces SEC(".maps");

/* Their sockets. */
struct {
  __uint(type, BPF_MAP_TYPE_XSKMAP);
  __uint(max_entries, OMNI_STEER_INTERFACES* OMNI_STEER_QUEUES);
  __type(key, uint32_t);
  __type(value, uint32_t);
} steer_sockets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, struct omni_steer_config);
} steer_config SEC(".maps");

/* The program that opens control channels (kernel_path.bpf.c) at entry 0, if there is one. */
struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, 1);
  __type(key, uint32_t);
  __type(value, uint32_t);
} steer_opener SEC(".maps");

/* Token buckets of addresses that handshake messages are expected from. */
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, OMNI_STEER_EXPECTED);
  __type(key, struct omni_steer_address);
  __type(value, uint64_t);
} steer_expected SEC(".maps");

/* Whether one more packet of this source may pass, and of all sources. */
OMNI_INLINE int omni_within_rate(const struct omni_steer_address* from) {
  const uint64_t now = bpf_ktime_get_ns();
  uint64_t* own = bpf_map_lookup_elem(&steer_expected, from);
  if (own && omni_conforms(own, now, OMNI_STEER_EXPECTED_INTERVAL_NS, OMNI_STEER_EXPECTED_BURST)) {
    return 1;
  }
  struct omni_steer_source source = {.family = from->family};
  __builtin_memcpy(source.prefix, from->bytes, 8);
  if (from->family == 4) source.prefix[3] = 0;
  uint64_t* next = bpf_map_lookup_elem(&steer_sources, &source);
  if (next) {
    if (!omni_conforms(next, now, OMNI_STEER_PREFIX_INTERVAL_NS, OMNI_STEER_PREFIX_BURST)) return 0;
  } else {
    const uint64_t first = now + OMNI_STEER_PREFIX_INTERVAL_NS;
    bpf_map_update_elem(&steer_sources, &source, &first, BPF_ANY);
  }
  const uint32_t all = 0;
  uint64_t* total = bpf_map_lookup_elem(&steer_total, &all);
  return total && omni_conforms(total, now, OMNI_STEER_TOTAL_INTERVAL_NS, OMNI_STEER_TOTAL_BURST);
}

OMNI_INLINE int omni_steer_handshake(const struct omni_datagram* d, uint32_t size) {
  if (d->payload_bytes < size) return omni_drop_as(OMNI_DROP_rx_truncated);
  if (d->payload_bytes > size) return omni_drop_as(OMNI_DROP_rx_oversized);
  if (!omni_within_rate(&d->source)) {
    return omni_drop_as(OMNI_DROP_rx_control_rate);
  }
  return omni_pass_as(OMNI_STEER_xdp_handshakes);
}

/* To the AF_XDP socket of the queue on which it came, if both belong to one worker. Else to the
 * kernel, whose socket filter finds the owner of the channel: its queue is long, and that of one
 * worker to another is not. */
OMNI_INLINE int omni_give(struct xdp_md* ctx, uint64_t id) {
  uint32_t index = ctx->ingress_ifindex;
  const struct omni_steer_interface* interface = bpf_map_lookup_elem(&steer_interfaces, &index);
  const uint32_t queue = ctx->rx_queue_index;
  const uint32_t number = (uint32_t)(id >> 8) & OMNI_CHANNEL_NUMBER_MASK;
  if (!interface || queue >= interface->queues || interface->workers == 0 ||
      bpf_xdp_get_buff_len(ctx) > interface->longest ||
      number % interface->workers != queue % interface->workers) {
    return omni_pass_as(OMNI_STEER_xdp_passed);
  }
  const int verdict = (int)bpf_redirect_map(&steer_sockets, interface->first + queue, XDP_PASS);
  omni_pass_as(verdict == XDP_REDIRECT ? OMNI_STEER_xdp_redirected : OMNI_STEER_xdp_passed);
  return verdict;
}

enum omni_steer_place { OMNI_IN_DRIVER, OMNI_BEHIND_DRIVER };

OMNI_INLINE int omni_steer_data(struct xdp_md* ctx, const struct omni_datagram* d,
                                enum omni_steer_place place) {
  uint64_t id;
  if (d->payload_bytes < OMNI_DATA_OVERHEAD ||
      bpf_xdp_load_bytes(ctx, d->payload, &id, sizeof(id))) {
    return omni_drop_as(OMNI_DROP_rx_truncated);
  }
  const uint8_t* use = bpf_map_lookup_elem(&steer_channels, &id);
  if (!use) {
    const uint32_t only = 0;
    const struct omni_steer_config* config = bpf_map_lookup_elem(&steer_config, &only);
    if (!config || !config->incomplete) return omni_drop_as(OMNI_DROP_rx_unknown_channel);
    return omni_pass_as(OMNI_STEER_xdp_unsure);
  }
  if (*use == OMNI_STEER_RELAYED) {
    const int verdict = place == OMNI_IN_DRIVER ? omni_relay(ctx, d, id) : XDP_PASS;
    return verdict == XDP_PASS ? omni_give(ctx, id) : verdict;
  }
  const uint32_t kind = (uint32_t)(id >> 8 & 0xff) >> OMNI_CHANNEL_KIND_SHIFT;
  if (kind == OMNI_CHANNEL_L3_BULK || kind == OMNI_CHANNEL_L2_BULK) return omni_give(ctx, id);
  /* Does not come back; what it does not take passes. */
  if (place == OMNI_IN_DRIVER && kind == OMNI_CHANNEL_L3_CONTROL)
    bpf_tail_call(ctx, &steer_opener, 0);
  return omni_pass_as(OMNI_STEER_xdp_passed);
}

OMNI_INLINE int omni_steer_frame(struct xdp_md* ctx, enum omni_steer_place place) {
  struct omni_datagram d = {};
  if (!omni_parse_frame(ctx, &d)) return XDP_PASS;
  if (d.target_port != omni_steer_port) return XDP_PASS;
  if (!bpf_map_lookup_elem(&steer_addresses, &d.target)) return XDP_PASS;
  uint8_t type;
  if (d.payload_bytes == 0 || bpf_xdp_load_bytes(ctx, d.payload, &type, 1)) return XDP_PASS;
  switch (type) {
    case OMNI_MSG_DATA:
      return omni_steer_data(ctx, &d, place);
    case OMNI_MSG_INITIATION:
      return omni_steer_handshake(&d, OMNI_INITIATION_BYTES);
    case OMNI_MSG_RESPONSE:
      return omni_steer_handshake(&d, OMNI_RESPONSE_BYTES);
    case OMNI_MSG_COOKIE:
      return omni_steer_handshake(&d, OMNI_COOKIE_BYTES);
    case OMNI_MSG_BEACON:
      return omni_steer_handshake(&d, OMNI_BEACON_BYTES);
    default:
      return XDP_PASS;
  }
}

/* In the driver, frames of several pieces included. */
SEC("xdp.frags")
int omni_steer(struct xdp_md* ctx) { return omni_steer_frame(ctx, OMNI_IN_DRIVER); }

/* Behind the driver. Linux (6.18) hands a buffer on without its Ethernet header to TC when a
 * program for frames in pieces saw it there, ours and those of others alike: so this is none. It
 * opens nothing, because TC does, with the buffer that exists by then; nor does it relay, because
 * it may see several datagrams as one, merged by GRO. */
SEC("xdp")
int omni_steer_generic(struct xdp_md* ctx) { return omni_steer_frame(ctx, OMNI_BEHIND_DRIVER); }

char omni_license[] SEC("license") = "Dual BSD/GPL";
