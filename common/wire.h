// SPDX-License-Identifier: Apache-2.0
// Layouts of our control datagrams, as docs/PROTOCOL.md draws them. The controller makes and reads
// them; the dataplane looks only at type, length and mac1, to keep strangers' datagrams away from
// the controller.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/byte_order.h"

namespace omni::wire {

inline constexpr size_t kPublicKeyBytes = 32;
inline constexpr size_t kTagBytes = 16;
inline constexpr size_t kMacBytes = 16;
// LIMIT: handshake messages have one size each, so that length reveals nothing and both mac1 and a
// BPF program find their fields at fixed places. 96 bytes hold today's items (under 48) and leave
// room for as many again.
inline constexpr size_t kPayloadBytes = 96;

// Both handshake messages end with these. mac1 covers everything before it, mac2 everything before
// itself.
struct Macs {
  std::array<uint8_t, kMacBytes> mac1;
  std::array<uint8_t, kMacBytes> mac2;  // zero unless the sender holds a cookie
};

struct Initiation {
  uint8_t type;  // OMNI_MSG_INITIATION
  std::array<uint8_t, 3> reserved;
  Le32 sender_index;
  std::array<uint8_t, kPublicKeyBytes> ephemeral;
  std::array<uint8_t, kPublicKeyBytes + kTagBytes> encrypted_static;
  std::array<uint8_t, kPayloadBytes + kTagBytes> encrypted_payload;
  Macs macs;
};
static_assert(sizeof(Initiation) == 232 && alignof(Initiation) == 1);

struct Response {
  uint8_t type;  // OMNI_MSG_RESPONSE
  std::array<uint8_t, 3> reserved;
  Le32 sender_index;
  Le32 receiver_index;
  std::array<uint8_t, kPublicKeyBytes> ephemeral;
  std::array<uint8_t, kPayloadBytes + kTagBytes> encrypted_payload;
  Macs macs;
};
static_assert(sizeof(Response) == 188 && alignof(Response) == 1);

struct CookieReply {
  uint8_t type;  // OMNI_MSG_COOKIE
  std::array<uint8_t, 3> reserved;
  Le32 receiver_index;
  std::array<uint8_t, 24> nonce;
  std::array<uint8_t, kMacBytes + kTagBytes> encrypted_cookie;
};
static_assert(sizeof(CookieReply) == 64 && alignof(CookieReply) == 1);

// Says on one link that a node is there. All of one size, and noise to who lacks the key.
struct Beacon {
  uint8_t type;  // OMNI_MSG_BEACON
  std::array<uint8_t, 3> reserved;
  std::array<uint8_t, 24> nonce;
  // XChaCha20-Poly1305, the four bytes before the nonce as additional data.
  std::array<uint8_t, 136 + kTagBytes> encrypted_content;
};
static_assert(sizeof(Beacon) == 180 && alignof(Beacon) == 1);

struct BeaconContent {
  std::array<uint8_t, kPublicKeyBytes> identity;  // Ed25519
  std::array<uint8_t, 16> address;                // from which it is sent; IPv4 as ::ffff:a.b.c.d
  Le16 port;                                      // likewise
  std::array<uint8_t, 6> reserved;
  Le64 sequence;                      // of the node's record
  Le64 stamp;                         // greater than in any beacon of the node before
  std::array<uint8_t, 64> signature;  // by the identity, over all before it
};
static_assert(sizeof(BeaconContent) == 136 && alignof(BeaconContent) == 1);

// Whether a member of the cluster made it. False for any other size.
bool BeaconIsAuthentic(std::span<const uint8_t> datagram, std::span<const uint8_t, 32> key);

// Whether mac1 of a handshake message is right, in constant time. `message` is a whole initiation
// or response; anything shorter than its macs is wrong. mac1 = BLAKE2b-128(key, all bytes before
// mac1).
bool Mac1IsValid(std::span<const uint8_t> message, std::span<const uint8_t, 32> mac1_key);

}  // namespace omni::wire
