// SPDX-License-Identifier: Apache-2.0
// Everything that is derived around the Noise handshake: the PSK of a pair, the proof of
// membership, session tags, channel ids and channel keys. Pure functions; docs/PROTOCOL.md lists
// the labels.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/secret.h"
#include "controller/noise/engine.h"
#include "controller/noise/ik_psk2.h"
#include "controller/noise/payload.h"

namespace omni::noise {

// Mirrors of bpf/abi.h, which the controller does not include; a test compares them.
inline constexpr uint8_t kMessageData = 4;         // OMNI_MSG_DATA
inline constexpr uint8_t kKindL3Bulk = 0;          // OMNI_CHANNEL_L3_BULK
inline constexpr uint8_t kKindL3Control = 1;       // OMNI_CHANNEL_L3_CONTROL
inline constexpr unsigned kChannelKindShift = 6;   // OMNI_CHANNEL_KIND_SHIFT
inline constexpr uint8_t kMessageInitiation = 5;   // OMNI_MSG_INITIATION
inline constexpr uint8_t kMessageResponse = 6;     // OMNI_MSG_RESPONSE
inline constexpr uint8_t kMessageCookieReply = 7;  // OMNI_MSG_COOKIE

// The PSK of a pair: the cluster's, and mixed into it the extra secret of the pair if there is one.
Key32 CombinePsk(const Key32& cluster_psk, const std::optional<Key32>& pair_psk);

// What only a holder of the PSK can say about this very initiation. `hash` is the handshake hash
// before the payload, and with it covers both static keys and the ephemeral one.
Proof MembershipProof(const Key32& psk, const Hash& hash);

// 48 bits that nobody without `boot_secret` can guess or link. `attempt` counts collisions.
uint64_t DeriveTag(const Key32& boot_secret, const Hash& hash, uint32_t attempt);

// The 8 bytes on the wire as a little-endian number: type, channel index, tag.
inline uint64_t ChannelId(uint64_t tag, uint8_t index) {
  return tag << 16U | uint64_t{index} << 8U | kMessageData;
}

// What the ends make of their keys and offers: id, cipher and channels. The rest is the caller's.
EstablishedSession MakeSession(const TransportKeys& keys, Role role, const Offer& ours,
                               const Offer& theirs);

}  // namespace omni::noise
