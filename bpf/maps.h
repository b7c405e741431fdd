/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps, and how a slot of them is read. What stands in them, and the rule under which user
 * space writes it, is in kernel_abi.h.
 */
#ifndef OMNI_BPF_MAPS_H
#define OMNI_BPF_MAPS_H

#include "bpf/packet.h"

/* Set before loading. */
const volatile uint16_t omni_port = 0;     /* our UDP port, network order */
const volatile uint32_t omni_tun = 0;      /* interface index of the TUN */
const volatile uint64_t omni_guard_ns = 0; /* how long a flow stays with user space */
const volatile uint64_t omni_pace_ns = 0;  /* a flow faster than a packet each is bulk; 0: none */
const volatile uint32_t omni_magic = 0;    /* random; see struct omni_mark */

/* Which control channel has which slot. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, OMNI_KERNEL_BUCKETS);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, uint32_t);
  __type(value, struct omni_kernel_bucket);
} omni_rx_slots SEC(".maps");

/* Control channels that we receive. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, OMNI_KERNEL_CHANNELS);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, uint32_t);
  __type(value, struct omni_kernel_rx);
} omni_rx SEC(".maps");

/* Their replay windows. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, OMNI_KERNEL_CHANNELS);
  __type(key, uint32_t);
  __type(value, struct omni_kernel_window);
} omni_windows SEC(".maps");

/* Control channels that we send on. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, OMNI_KERNEL_CHANNELS);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, uint32_t);
  __type(value, struct omni_kernel_tx);
} omni_tx SEC(".maps");

/* Peers by their index. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, OMNI_KERNEL_PEERS);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, uint32_t);
  __type(value, struct omni_kernel_peer);
} omni_peers SEC(".maps");

/* To which peer an inner address belongs, by longest prefix. */
struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, OMNI_KERNEL_ROUTES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct omni_route4_key);
  __type(value, uint32_t);
} omni_routes4 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, OMNI_KERNEL_ROUTES);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct omni_route6_key);
  __type(value, uint32_t);
} omni_routes6 SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __uint(map_flags, BPF_F_MMAPABLE);
  __type(key, uint32_t);
  __type(value, struct omni_kernel_config);
} omni_config SEC(".maps");

OMNI_INLINE uint32_t omni_threshold(void) {
  const uint32_t only = 0;
  const struct omni_kernel_config* config = bpf_map_lookup_elem(&omni_config, &only);
  return config ? config->threshold : 0;
}

/* What the host sends, flow by flow. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, OMNI_KERNEL_FLOWS);
  __type(key, uint32_t);
  __type(value, struct omni_kernel_flow);
} omni_flows SEC(".maps");

/* Interfaces that XDP may open packets of: where the program at TC ingress takes them on to the
 * TUN. The value is the interface's index; its place that modulo the size. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, OMNI_KERNEL_XDP_INTERFACES);
  __type(key, uint32_t);
  __type(value, uint32_t);
} omni_xdp_interfaces SEC(".maps");

/* Confirmations and moves of peers. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, OMNI_KERNEL_EVENT_BYTES);
} omni_events SEC(".maps");

/* Where a packet is worked on: a CPU's memory for packets on their way, and another for those that
 * user space gives (a program run by a system call can be interrupted by one that is not). */
enum omni_workspace { OMNI_WORK_WIRE = 0, OMNI_WORK_AGAIN = 1, OMNI_WORKSPACES };
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, OMNI_WORKSPACES);
  __type(key, uint32_t);
  __type(value, struct omni_crypt);
} omni_work SEC(".maps");

/* The word again, after everything that was read before: an atomic that changes nothing is a full
 * barrier on every processor. */
OMNI_INLINE uint32_t omni_active_again(uint32_t* active) { return __sync_fetch_and_or(active, 0); }

OMNI_INLINE void omni_copy_key(struct omni_crypt* c, const uint8_t from[32]) {
  const uint64_t* words = (const uint64_t*)from;
  uint64_t* to = (uint64_t*)c->key;
  to[0] = words[0];
  to[1] = words[1];
  to[2] = words[2];
  to[3] = words[3];
}

/* The slot of a channel; one that does not exist when it has none. */
OMNI_INLINE uint32_t omni_slot_of(uint64_t id) {
  uint32_t place = OMNI_BUCKET_OF(id);
  const struct omni_kernel_bucket* bucket = bpf_map_lookup_elem(&omni_rx_slots, &place);
  if (bucket) {
    for (int i = 0; i < OMNI_KERNEL_BUCKET; ++i) {
      if (bucket->id[i] == id) return bucket->slot[i];
    }
  }
  return OMNI_KERNEL_CHANNELS;
}

/* The peer that holds an inner address; a number that no peer has when none does. */
#define OMNI_NO_PEER 0xffffffffU
OMNI_INLINE uint32_t omni_route4(const uint8_t address[4]) {
  struct omni_route4_key key = {.length = 32};
  __builtin_memcpy(key.address, address, 4);
  const uint32_t* peer = bpf_map_lookup_elem(&omni_routes4, &key);
  return peer ? *peer : OMNI_NO_PEER;
}
OMNI_INLINE uint32_t omni_route6(const uint8_t address[16]) {
  struct omni_route6_key key = {.length = 128};
  __builtin_memcpy(key.address, address, 16);
  const uint32_t* peer = bpf_map_lookup_elem(&omni_routes6, &key);
  return peer ? *peer : OMNI_NO_PEER;
}

#endif /* OMNI_BPF_MAPS_H */
