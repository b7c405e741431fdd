// SPDX-License-Identifier: Apache-2.0
// What the encrypted payloads of the two handshake messages say. 96 bytes of items, each a type, a
// length and that many bytes; the rest is zero. Items of unknown type are skipped, so that later
// versions can say more; everything else that is out of order is refused.
//
//   type  length  value                                          in
//   1     8       timestamp, ns since 1970, big endian           initiation
//   2     6       session tag, bytes 2-7 of the channel ids      both
//   3     1       workers that receive, 1-16                     both
//   4     1       ciphers: bit 0 ChaCha20-Poly1305, always set,  both
//                 bit 1 AES-256-GCM; others mean nothing yet
//   5     16      membership proof                               initiation
//   6     1       control channels that receive, 0-1; 0 if absent both
//   7     8       tag of the sender's present cluster secret      both
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "common/cipher.h"
#include "common/wire.h"
#include "controller/noise/engine.h"

namespace omni::noise {

using PayloadBytes = std::array<uint8_t, wire::kPayloadBytes>;
using Proof = std::array<uint8_t, 16>;

inline constexpr uint8_t kOffersChaCha20Poly1305 = 1;
inline constexpr uint8_t kOffersAes256Gcm = 2;
// LIMIT: 16 workers; a machine with more cores than that gains nothing per peer.
inline constexpr int kMaxWorkers = 16;

// LIMIT: one control channel a direction: small packets are few, and one keeps them in order.
inline constexpr int kMaxControlChannels = 1;

// What one side can receive.
struct Offer {
  uint64_t tag = 0;  // 48 bits
  uint8_t workers = 1;
  uint8_t ciphers = kOffersChaCha20Poly1305;
  uint8_t control_channels = 0;
  friend bool operator==(const Offer&, const Offer&) = default;
};

struct InitiationPayload {
  uint64_t timestamp = 0;
  Proof proof{};
  Offer offer;
  std::optional<SecretTag> secret;
  friend bool operator==(const InitiationPayload&, const InitiationPayload&) = default;
};

struct ResponsePayload {
  Offer offer;
  std::optional<SecretTag> secret;
  friend bool operator==(const ResponsePayload&, const ResponsePayload&) = default;
};

// What both sides make of what each offers: AES-256-GCM if both do. Symmetric, and from nothing but
// the two authenticated payloads.
constexpr Cipher AgreedCipher(const Offer& a, const Offer& b) {
  return (a.ciphers & b.ciphers & kOffersAes256Gcm) != 0 ? Cipher::kAes256Gcm
                                                         : Cipher::kChaCha20Poly1305;
}

PayloadBytes Encode(const InitiationPayload& payload);
PayloadBytes Encode(const ResponsePayload& payload);
// Empty when malformed.
std::optional<InitiationPayload> ParseInitiationPayload(std::span<const uint8_t> bytes);
std::optional<ResponsePayload> ParseResponsePayload(std::span<const uint8_t> bytes);

}  // namespace omni::noise
