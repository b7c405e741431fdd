/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The maps of the steering program (steer.bpf.c) as both sides see them. User space writes them
 * with ordinary map updates; the program writes the token buckets, the windows and the counters.
 */
#ifndef OMNI_BPF_STEER_ABI_H
#define OMNI_BPF_STEER_ABI_H

#include "bpf/abi.h"

/* LIMIT: addresses of this machine that carry datagrams of ours. Those beyond are not watched. */
#define OMNI_STEER_ADDRESSES 1024
/* LIMIT: channels that we receive, of all sessions; 4 MiB when empty. Beyond them the table is
 * incomplete, and what it does not have passes: a session must not die of a full table. */
#define OMNI_STEER_CHANNELS (1U << 18)
/* LIMIT: as many as the hub opens (HubLimits::kRelayed). Entries and windows, some 450 bytes for
 * both, take memory when there are some; the buckets of pairs 1.3 MiB. */
#define OMNI_STEER_RELAYS 16384
/* LIMIT: source prefixes whose rates are remembered; the least recently used makes room. 4 MiB. */
#define OMNI_STEER_SOURCES 65536
/* LIMIT: interfaces with AF_XDP sockets, and queues of each; other queues go to the UDP socket. */
#define OMNI_STEER_INTERFACES 16
#define OMNI_STEER_QUEUES 64

/* LIMIT: handshake messages of one source prefix that pass: 800 at once, 200 a second. Four times
 * what the control filter lets through after it has looked at mac1, because here a stranger who
 * forges a prefix still shares the bucket of those who are at home there. */
#define OMNI_STEER_PREFIX_INTERVAL_NS 5000000ULL
#define OMNI_STEER_PREFIX_BURST 800ULL
/* LIMIT: of an address that is expected (a peer's, or one that we sent a handshake to), on top of
 * that: 200 at once, 100 a second. Strangers next door cannot use it up, unless they forge it.
 * 4,096 of them; the least recently used makes room. */
#define OMNI_STEER_EXPECTED 4096
#define OMNI_STEER_EXPECTED_INTERVAL_NS 10000000ULL
#define OMNI_STEER_EXPECTED_BURST 200ULL
/* LIMIT: of all prefixes together, per CPU: 4,000 at once, 20,000 a second. A flood from forged
 * prefixes meets this one: looking at mac1 takes half a microsecond, so it costs 1 % of a core. */
#define OMNI_STEER_TOTAL_INTERVAL_NS 50000ULL
#define OMNI_STEER_TOTAL_BURST 4000ULL

/* One of our addresses. */
struct omni_steer_address {
  uint8_t family; /* 4 or 6 */
  uint8_t reserved[3];
  uint8_t bytes[16]; /* 4: the first four, then zeros */
};
OMNI_ASSERT_SIZE(struct omni_steer_address, 20);

/* Whose rate is counted: IPv4 /24, IPv6 /64. */
struct omni_steer_source {
  uint8_t family;
  uint8_t reserved[7];
  uint8_t prefix[8]; /* 4: the first three, then zeros */
};
OMNI_ASSERT_SIZE(struct omni_steer_source, 16);

/* An interface that has AF_XDP sockets: queue q of it is entry `first` + q of the socket map. */
struct omni_steer_interface {
  uint32_t first;
  uint32_t queues;
  uint32_t longest; /* frames above it do not fit a socket's buffer and go to the UDP socket */
  uint32_t workers; /* not 0; queue q and channel number n have the owners q and n modulo this */
};
OMNI_ASSERT_SIZE(struct omni_steer_interface, 16);

/* What changes while the program runs; entry 0 of an array. */
struct omni_steer_config {
  uint32_t incomplete; /* not 0: channels may exist that the table does not have */
  uint32_t reserved;
};
OMNI_ASSERT_SIZE(struct omni_steer_config, 8);

/* What a channel is to us. */
enum omni_steer_use { OMNI_STEER_OURS = 1, OMNI_STEER_RELAYED = 2 };

/* A channel that one peer sends to another on, through us. Written whole, by user space alone. */
struct omni_steer_relay {
  uint64_t expires; /* nanoseconds of CLOCK_BOOTTIME */
  uint64_t pair_bytes_per_s;
  uint64_t total_bytes_per_s;
  uint32_t pair;      /* number of its bucket; never 0 */
  uint32_t interface; /* where it leaves; 0: user space has to send it */
  uint32_t mtu;       /* of the IP packet */
  uint8_t from_family;
  uint8_t to_family;
  uint16_t from_port; /* network order, as the next one */
  uint16_t to_port;
  uint8_t redirects; /* not 0: by a redirect also where it came in, see RelayExit in user space */
  uint8_t reserved;
  uint8_t from[16]; /* where its sender is; of IPv4 the first four bytes, then zeros */
  uint8_t to[16];
  uint8_t local[16]; /* our address towards `to` */
  uint8_t to_mac[6]; /* the next hop's */
  uint8_t local_mac[6];
};
OMNI_ASSERT_SIZE(struct omni_steer_relay, 104);

/* As kRelayWindow of common/relay; a word more, so that whole words can be cleared (RFC 6479). */
#define OMNI_STEER_RELAY_WINDOW 2048
#define OMNI_STEER_RELAY_WORDS (OMNI_STEER_RELAY_WINDOW / 64 + 1)

/* Its window, in a map of its own: another address or time does not touch it. User space makes it
 * and takes it away. */
struct omni_steer_window {
#ifdef __cplusplus
  uint32_t lock;
#else
  struct bpf_spin_lock lock;
#endif
  uint32_t reserved;
  uint64_t id;   /* of the channel; a program that comes late must not touch another's window */
  uint64_t next; /* one above the highest counter accepted */
  uint64_t words[OMNI_STEER_RELAY_WORDS];
};
OMNI_ASSERT_SIZE(struct omni_steer_window, 24 + 8 * OMNI_STEER_RELAY_WORDS);

/* Sizes of handshake messages (docs/PROTOCOL.md, section 3); each kind has one. */
#define OMNI_INITIATION_BYTES 232
#define OMNI_RESPONSE_BYTES 188
#define OMNI_COOKIE_BYTES 64
/* Of beacons (section 11). Those to a multicast address pass as all that is not to one of our
 * addresses: the kernel gives them to the socket, and user space looks at them. */
#define OMNI_BEACON_BYTES 180

/* What the program counts besides drops, per CPU. X(name, explanation). */
#define OMNI_STEER_COUNTERS(X)                                                         \
  X(xdp_redirected, "datagrams that XDP gave to an AF_XDP socket")                     \
  X(xdp_passed, "session data of a known channel that XDP left to the UDP socket")     \
  X(xdp_handshakes, "handshake messages and beacons that XDP let through")             \
  X(xdp_unsure, "unknown channels let through because the table of them is not whole") \
  X(xdp_relayed, "datagrams from one peer to another that XDP gave to a driver")       \
  X(xdp_relayed_bytes, "bytes in them")                                                \
  X(xdp_relay_left, "datagrams to be relayed that native XDP judged and left to user space")

enum omni_steer_counter {
#define OMNI_STEER_ENUM(name, text) OMNI_STEER_##name,
  OMNI_STEER_COUNTERS(OMNI_STEER_ENUM)
#undef OMNI_STEER_ENUM
      OMNI_STEER_COUNT
};

#endif /* OMNI_BPF_STEER_ABI_H */
