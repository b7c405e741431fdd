// SPDX-License-Identifier: Apache-2.0
// Channels: one direction of a session with one key, one counter and one owner. ReceiveChannel
// belongs to the worker that receives its index, SendChannel to the worker that sends on it;
// nothing here is ever shared between two. The hub holds references too, to read the two counters,
// and nothing else.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "bpf/abi.h"
#include "common/cipher.h"
#include "common/clock.h"
#include "common/replay_window.h"
#include "common/secret.h"
#include "dataplane/core/drop.h"
#include "dataplane/core/routes.h"

namespace omni {

// The eight bytes of a channel id read as a little-endian number: lowest byte OMNI_MSG_DATA, then
// the index.
using ChannelId = uint64_t;

inline uint8_t ChannelIndex(ChannelId id) { return static_cast<uint8_t>(id >> 8); }
inline uint8_t ChannelNumber(ChannelId id) { return ChannelIndex(id) & OMNI_CHANNEL_NUMBER_MASK; }
inline uint8_t ChannelKind(ChannelId id) { return ChannelIndex(id) >> OMNI_CHANNEL_KIND_SHIFT; }

// Number of a session in the hub's table, unique for the life of the process.
using SessionHandle = uint64_t;

// The counter from which on a new session is due.
// LIMIT: with AES-GCM what an attacker can tell grows with the square of the blocks under one key:
// 2^28 packets keep it below 2^-57 (RFC 9001 appendix B.1.1, for packets of 2 KiB). At a million
// packets a second on one channel the time limit comes first.
constexpr uint64_t RekeyAfterMessages(Cipher cipher) {
  return cipher == Cipher::kAes256Gcm ? uint64_t{1} << 28 : uint64_t{OMNI_REKEY_AFTER_MESSAGES};
}

struct ReceiveChannel {
  // What every packet touches.
  Key32 key;
  ChannelId id = 0;
  Instant reject_at;
  PeerIndex peer = kNoPeer;
  Cipher cipher = Cipher::kChaCha20Poly1305;
  bool confirmed = true;  // false: the first authentic packet is reported
  Counter64 packets;
  // What only lookups of the hub touch.
  SessionHandle session = 0;
  ReplayWindow<OMNI_REPLAY_WINDOW> replay;
};

struct SendChannel {
  Key32 key;
  ChannelId id = 0;
  Cipher cipher = Cipher::kChaCha20Poly1305;
  // The next counter. ORDER: written by the owning worker alone.
  Counter64 counter;
};

// What one worker sends on to a peer: its share of the channels of the peer's current session.
struct SendSession {
  SessionHandle session = 0;
  Instant reject_at;
  std::vector<std::shared_ptr<SendChannel>> channels;  // at least one
};

}  // namespace omni
