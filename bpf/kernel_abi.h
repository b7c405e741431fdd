/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of the in-kernel path as both sides see them (bpf/abi.h says what is on the wire). User
 * space maps the arrays into its memory and writes them under one rule: a slot whose first word is
 * 0 is nobody's; the others are written while it is 0, and then it is set to a number that the slot
 * never had before. A program reads the word, copies what it needs, and reads the word again.
 */
#ifndef OMNI_BPF_KERNEL_ABI_H
#define OMNI_BPF_KERNEL_ABI_H

#include "bpf/abi.h"

/* LIMIT: control channels that the kernel owns at a time, per direction; a receiving one costs 1.2
 * KiB. What finds no slot stays in user space. */
#define OMNI_KERNEL_CHANNELS 4096
/* LIMIT: peers with an index below it; 80 bytes each. */
#define OMNI_KERNEL_PEERS 4096
#define OMNI_KERNEL_ROUTES (1U << 20)
/* LIMIT: the longest inner packet of a control channel; a multiple of a ChaCha20 block. */
#define OMNI_KERNEL_TEXT 1536
/* LIMIT: flows are remembered by hash; flows that share a place only go through user space
 * together. */
#define OMNI_KERNEL_FLOWS 4096
/* LIMIT: packets of one flow that the kernel seals at once, however fast it is otherwise. */
#define OMNI_KERNEL_FLOW_BURST 256ULL
#define OMNI_KERNEL_EVENT_BYTES 65536
/* LIMIT: XDP opens packets of interfaces that differ in their index modulo this; of others TC. */
#define OMNI_KERNEL_XDP_INTERFACES 256
/* LIMIT: channels are found by their id, which is random and ours, in a table of small buckets: an
 * array is looked up in the program itself, a hash map takes 35 ns more. With all slots in use one
 * channel in 6,000 finds its bucket full, and stays in user space. */
#define OMNI_KERNEL_BUCKETS 8192
#define OMNI_KERNEL_BUCKET 4
/* A word more than the window, so that clearing whole words never forgets a counter inside it. */
#define OMNI_REPLAY_WORDS (OMNI_REPLAY_WINDOW / 64 + 1)

/* A control channel that we receive. */
struct omni_kernel_rx {
  uint32_t active; /* 0: not in use, or being written */
  uint32_t peer;
  uint64_t id;
  uint64_t reject_at; /* nanoseconds of CLOCK_BOOTTIME, as all times here */
  uint8_t key[32];
  /* Written by the program, read by user space. */
  uint64_t packets; /* authentic, no replay */
  uint64_t bytes;   /* inner bytes of them */
  uint64_t last_rx;
  uint64_t last_data_rx;
  uint32_t confirmed; /* 0: the first authentic packet is told as an event */
  uint32_t reserved;
  uint64_t slow_until; /* until then everything of it goes through user space, see bpf/open.h */
};
OMNI_ASSERT_SIZE(struct omni_kernel_rx, 104);

/* Which control channels have which slots. User space writes the slot first, then the id. */
struct omni_kernel_bucket {
  uint64_t id[OMNI_KERNEL_BUCKET]; /* 0: nobody's */
  uint32_t slot[OMNI_KERNEL_BUCKET];
};
OMNI_ASSERT_SIZE(struct omni_kernel_bucket, 12 * OMNI_KERNEL_BUCKET);

/* Where an id's bucket is: the two lowest bytes are type and index, the rest is random. */
#define OMNI_BUCKET_OF(id) (((id) >> 16) % OMNI_KERNEL_BUCKETS)

/* Its replay window (RFC 6479), in a map of its own, because memory with a lock in it cannot be
 * mapped. */
struct omni_kernel_window {
#ifdef __cplusplus
  uint32_t lock;
#else
  struct bpf_spin_lock lock;
#endif
  uint32_t reserved;
  uint64_t id;   /* of the channel; a program that comes late must not touch another's window */
  uint64_t next; /* one above the highest counter accepted */
  uint64_t words[OMNI_REPLAY_WORDS];
};
OMNI_ASSERT_SIZE(struct omni_kernel_window, 24 + 8 * OMNI_REPLAY_WORDS);

/* A control channel that we send on. */
struct omni_kernel_tx {
  uint32_t active;
  uint32_t peer;
  uint64_t id;
  uint64_t reject_at;
  uint64_t counter; /* the next one; the program adds to it atomically, nobody else does */
  uint8_t key[32];
};
OMNI_ASSERT_SIZE(struct omni_kernel_tx, 64);

/* Where a peer is, and what was sent to it. */
struct omni_kernel_peer {
  uint32_t active;
  uint32_t interface; /* by which its datagrams leave; 0: user space sends */
  uint16_t family;    /* 4 or 6, of both addresses; 4: the first four bytes, then zeros */
  uint16_t port;      /* network order */
  uint32_t tx_slot;   /* channel to send on; at or above OMNI_KERNEL_CHANNELS: none */
  uint8_t remote[16];
  uint8_t local[16];
  uint32_t fits; /* bytes of an inner packet that the path carries whole */
  uint32_t reserved;
  /* Written by the program. */
  uint64_t tx_packets;
  uint64_t tx_bytes;
  uint64_t last_tx;
};
OMNI_ASSERT_SIZE(struct omni_kernel_peer, 80);

/* What is remembered of a flow that the host sends, in nanoseconds. */
struct omni_kernel_flow {
  uint64_t left; /* when a packet of it last went to user space */
  uint64_t next; /* when its token bucket is full again (see bpf/rate.h) */
};
OMNI_ASSERT_SIZE(struct omni_kernel_flow, 16);

struct omni_route4_key {
  uint32_t length;
  uint8_t address[4];
};
OMNI_ASSERT_SIZE(struct omni_route4_key, 8);
struct omni_route6_key {
  uint32_t length;
  uint8_t address[16];
};
OMNI_ASSERT_SIZE(struct omni_route6_key, 20);

/* What changes while the programs run; entry 0 of an array. */
struct omni_kernel_config {
  uint32_t threshold; /* inner bytes up to which the kernel sends; 0: it looks at no packet */
  uint32_t reserved;
};
OMNI_ASSERT_SIZE(struct omni_kernel_config, 8);

/* What the programs tell user space. */
enum omni_kernel_event_type {
  OMNI_KERNEL_CONFIRMED = 1, /* first authentic packet on a channel */
  OMNI_KERNEL_ROAMED = 2     /* authentic, newest packet from another address than the peer's */
};
struct omni_kernel_event {
  uint64_t channel_id;
  uint32_t type;
  uint32_t interface; /* on which it came */
  uint16_t family;    /* 4 or 6 */
  uint16_t port;      /* network order */
  uint32_t reserved;
  uint8_t remote[16];
  uint8_t local[16];
};
OMNI_ASSERT_SIZE(struct omni_kernel_event, 56);

/* What the programs count, per CPU, besides drops. X(name, explanation). */
#define OMNI_KERNEL_COUNTERS(X)                                                               \
  X(kernel_rx, "packets opened and delivered inside the kernel")                              \
  X(kernel_rx_xdp, "those of them that XDP opened, before the kernel's network stack")        \
  X(kernel_tx, "packets sealed and sent inside the kernel")                                   \
  X(kernel_rx_bytes, "inner bytes of packets that the kernel opened and delivered")           \
  X(kernel_tx_bytes, "inner bytes of packets that the kernel sealed and sent")                \
  X(kernel_rx_slow, "datagrams of control channels that user space had opened by the kernel") \
  X(kernel_tx_large, "packets above the threshold or of many segments, left to user space")   \
  X(kernel_tx_fast, "small packets of flows above the rate, left to user space")              \
  X(kernel_tx_kept, "small packets left to user space to keep their flow in order")           \
  X(kernel_tx_other, "packets left to user space for another reason: kind, no session, no path")

/* Numbered on from the drop reasons: one array holds both. */
enum omni_kernel_counter {
  OMNI_COUNT_before = OMNI_DROP_COUNT - 1,
#define OMNI_KERNEL_ENUM(name, text) OMNI_COUNT_##name,
  OMNI_KERNEL_COUNTERS(OMNI_KERNEL_ENUM)
#undef OMNI_KERNEL_ENUM
      OMNI_COUNTERS
};

#endif /* OMNI_BPF_KERNEL_ABI_H */
