/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel side and user space share: the session data header, the layout of a channel id,
 * limits, and the one list of drop reasons. Included by BPF C (clang -target bpf) and by C++; no
 * other header is shared. Rules: fixed-width types, every pad byte is a named field, sizes asserted
 * on both sides. docs/PROTOCOL.md draws the same layouts for people.
 */
#ifndef OMNI_BPF_ABI_H
#define OMNI_BPF_ABI_H

#ifdef __cplusplus
#include <cstddef>
#include <cstdint>
#include <type_traits>
#define OMNI_ASSERT_SIZE(type, size)                       \
  static_assert(sizeof(type) == (size), #type " changed"); \
  static_assert(std::has_unique_object_representations_v<type>, #type " has padding")
#else
#include <linux/types.h>
typedef __u8 uint8_t;
typedef __u16 uint16_t;
typedef __u32 uint32_t;
typedef __u64 uint64_t;
#define OMNI_ASSERT_SIZE(type, size) _Static_assert(sizeof(type) == (size), #type " changed")
#endif

/* First byte of every datagram on the one UDP port (RFC 7983 / RFC 9443 demultiplexing). */
enum omni_message_type {
  OMNI_MSG_STUN_MAX = 3,    /* 0-3, with the STUN magic cookie */
  OMNI_MSG_DATA = 4,        /* session data */
  OMNI_MSG_INITIATION = 5,  /* handshake initiation */
  OMNI_MSG_RESPONSE = 6,    /* handshake response */
  OMNI_MSG_COOKIE = 7,      /* cookie reply */
  OMNI_MSG_BEACON = 8,      /* "I am here", to all on one link */
  OMNI_MSG_CONTROL_MAX = 15 /* 9-15 are reserved for our later control messages */
  /* 64-127 and 192-255, the bit 0x40: QUIC (its fixed bit, which we never grease) */
};

/* Session data on the wire: this header, then the ciphertext of the inner packet, as long as the
 * inner packet. The first 16 bytes are the AAD. The nonce is 4 zero bytes, then the counter (RFC
 * 8439, 96 bits). The tag stands in front because a packet cannot always be grown at its tail
 * inside the kernel.
 */
struct omni_data_header {
  uint8_t channel_id[8]; /* OMNI_MSG_DATA, channel index, 48-bit session tag of the receiver */
  uint8_t counter[8];    /* little endian, starts at 0, never repeats under one key */
  uint8_t tag[16];       /* Poly1305 */
};
OMNI_ASSERT_SIZE(struct omni_data_header, 32);

#define OMNI_DATA_AAD_BYTES 16
#define OMNI_DATA_OVERHEAD 32

/* Channel index (second byte of a channel id): kind in the two high bits, number in the six low
 * ones. */
#define OMNI_CHANNEL_KIND_SHIFT 6
#define OMNI_CHANNEL_NUMBER_MASK 0x3f
enum omni_channel_kind {
  OMNI_CHANNEL_L3_BULK = 0,
  OMNI_CHANNEL_L3_CONTROL = 1,
  OMNI_CHANNEL_L2_BULK = 2,
  OMNI_CHANNEL_L2_CONTROL = 3
};

/* An opened packet whose first byte is below 16 is no IP packet but a message between the two
 * dataplanes. */
enum omni_inner_type {
  OMNI_INNER_ECHO_REQUEST =
      1, /* struct omni_inner_echo, then padding; answered with the same bytes, type 2 */
  OMNI_INNER_ECHO_REPLY = 2,
  OMNI_INNER_PROBE = 3, /* as an echo request; answered by its first 24 bytes alone, type 2: a reply
                         * as large as the request would test the way back as well */
  OMNI_INNER_PIECE = 4, /* struct omni_inner_piece, then a piece of a packet that the path does not
                         * carry whole */
  OMNI_INNER_TRY = 5,   /* struct omni_inner_echo, over a path that is no more than tried: answered
                         * over the same path; neither moves the peer */
  OMNI_INNER_TRY_REPLY = 6 /* the same bytes, type 6 */
};
struct omni_inner_echo {
  uint8_t type;        /* enum omni_inner_type */
  uint8_t reserved[7]; /* zero */
  uint8_t token[8];    /* which question this is; random, opaque to the answerer */
  uint8_t stamp[8];    /* the asker's clock when it sent, opaque to the answerer */
};
OMNI_ASSERT_SIZE(struct omni_inner_echo, 24);

/* Pieces tile the packet: piece `index` begins at index * piece_bytes and is as long as
 * piece_bytes, the last one shorter. They travel on one channel, as packets of their own; the whole
 * is an IP packet or a message other than a piece. */
struct omni_inner_piece {
  uint8_t type;           /* OMNI_INNER_PIECE */
  uint8_t index;          /* from 0 */
  uint8_t piece_bytes[2]; /* little endian, not 0 */
  uint8_t total_bytes[2]; /* little endian; the whole packet, more than one piece */
  uint8_t reserved[2];    /* zero */
  uint8_t id[4];          /* little endian; which packet of the channel */
};
OMNI_ASSERT_SIZE(struct omni_inner_piece, 12);

/* LIMIT: as WireGuard (whitepaper section 6.1), the message limits of our 64-bit counter. */
#define OMNI_REKEY_AFTER_MESSAGES (1ULL << 60)
#define OMNI_REJECT_AFTER_MESSAGES (~0ULL - (1ULL << 13))
/* LIMIT: 8,192 packets of reordering; 1,024 was shown too small for multi-queue senders. A ring of
 * 64-bit words one word larger than the window (RFC 6479). */
#define OMNI_REPLAY_WINDOW 8192

/* Every way in which a packet ends other than delivered. One list: BPF counts by it, C++ names
 * metrics by it, the table in docs/OPERATIONS.md is generated from it. X(name, explanation). Append
 * at the end of a group only before a release; the numbers are not part of any wire format.
 */
#define OMNI_DROP_REASONS(X)                                                               \
  X(rx_truncated, "datagram shorter than its header")                                      \
  X(rx_unknown_type, "first byte names no protocol of ours")                               \
  X(rx_oversized, "datagram larger than the receive buffer")                               \
  X(rx_unknown_channel, "session data for a channel that does not exist here")             \
  X(rx_session_expired, "session data after the session's reject time")                    \
  X(rx_counter_limit, "counter beyond the reject-after-messages limit")                    \
  X(rx_bad_tag, "authentication failed")                                                   \
  X(rx_replayed, "counter already seen, or older than the replay window")                  \
  X(rx_inner_malformed, "authentic packet whose content is no well-formed IP packet")      \
  X(rx_inner_source, "inner source address does not belong to the peer that sent it")      \
  X(rx_ecn, "outer congestion mark on an inner packet that is not ECN-capable (RFC 6040)") \
  X(rx_piece, "piece of a packet whose other pieces did not come")                         \
  X(rx_handover_full, "ring to the worker that owns the channel was full")                 \
  X(rx_tun_full, "the TUN device did not take the packet")                                 \
  X(rx_tun_error, "the TUN device refused the packet")                                     \
  X(rx_control_mac1, "handshake message whose mac1 is wrong")                              \
  X(rx_control_rate, "control datagram beyond the rate of its source prefix or its kind")  \
  X(rx_control_queue, "control datagram while the queue to the controller was full")       \
  X(rx_stun_stranger, "STUN that answers no request of the controller")                    \
  X(rx_quic_stranger, "QUIC of no connection of ours that shows no membership")            \
  X(rx_beacon_stranger, "beacon that no member of the cluster made")                       \
  X(rx_control_no_controller, "control datagram while no controller was connected")        \
  X(rx_relay_source, "session data to be relayed that does not come from its sender")      \
  X(rx_relay_replayed, "session data to be relayed that was relayed already, or is old")   \
  X(rx_relay_quota, "session data to be relayed beyond the quota of its pair or of all")   \
  X(tx_inner_malformed, "packet from the host that is no well-formed IP packet")           \
  X(tx_super_packet, "packet from the host whose offload data does not fit it")            \
  X(tx_no_route, "destination belongs to no peer")                                         \
  X(tx_no_session, "no session yet, and the peer's waiting queue overflowed or timed out") \
  X(tx_no_endpoint, "the peer's address is not known")                                     \
  X(tx_counter_limit, "the channel's counter is used up; a new handshake is due")          \
  X(tx_too_big, "larger than the path takes; its sender was told, as often as is allowed") \
  X(tx_socket_full, "the socket's send buffer was full")                                   \
  X(tx_socket_error, "the kernel refused to send to the peer's address")                   \
  X(tx_kernel_error, "the kernel refused to make room for a packet's outer headers")

enum omni_drop_reason {
#define OMNI_DROP_ENUM(name, text) OMNI_DROP_##name,
  OMNI_DROP_REASONS(OMNI_DROP_ENUM)
#undef OMNI_DROP_ENUM
      OMNI_DROP_COUNT
};

#endif /* OMNI_BPF_ABI_H */
