// SPDX-License-Identifier: Apache-2.0
// mac1, mac2 and cookies, as WireGuard has them (whitepaper sections 5.4.4, 5.4.7), with labels of
// our own and with BLAKE2b: mac1 shows that the sender knows whom it talks to, mac2 that it
// receives at the address and port it sends from. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"
#include "common/secret.h"
#include "common/wire.h"
#include "controller/noise/engine.h"
#include "controller/noise/ik_psk2.h"

namespace omni::noise {

using Mac = std::array<uint8_t, wire::kMacBytes>;

// LIMIT: whitepaper section 5.4.7: a cookie lives two minutes.
inline constexpr Duration kCookieLifetime = 120s;

// Keys made from a public key: under which messages to its owner carry mac1, and under which its
// cookie replies are sealed.
std::array<uint8_t, 32> Mac1Key(const PublicKey& static_public);
std::array<uint8_t, 32> CookieReplyKey(const PublicKey& static_public);

// Writes mac1 and, with a cookie, mac2 into the last 32 bytes of `message`. Returns mac1.
Mac FillMacs(std::span<uint8_t> message, const std::array<uint8_t, 32>& mac1_key,
             const std::optional<Mac>& cookie);

// The side that hands cookies out.
class CookieIssuer {
 public:
  CookieIssuer(const PublicKey& own_static, Environment* environment);

  // Whether mac2 shows that the sender of `message` receives at `from`.
  bool Mac2IsValid(std::span<const uint8_t> message, const Endpoint& from, Instant now);
  // The reply to a handshake message whose mac1 is right.
  wire::CookieReply MakeReply(std::span<const uint8_t> message, uint32_t sender_index,
                              const Endpoint& from, Instant now);

 private:
  void RotateSecret(Instant now);

  std::array<uint8_t, 32> reply_key_;
  Environment* environment_;
  Key32 secret_;
  std::optional<Key32> previous_secret_;
  std::optional<Instant> made_;  // when secret_ was; empty before the first use
};

// The side that asked: the cookie in a reply to the message that carried `mac1`, or nothing.
std::optional<Mac> OpenCookie(const wire::CookieReply& reply,
                              const std::array<uint8_t, 32>& reply_key, const Mac& mac1);

// How many handshake messages are worked on without a proof of address. A token bucket with one
// Instant as its state.
class LoadLimiter {
 public:
  // LIMIT: a handshake costs 0.2 ms (four X25519 operations); 512 a second take a tenth of a core,
  // and a burst lets that many peers in at once after a restart.
  static constexpr int kBurst = 512;
  static constexpr Duration kInterval = Duration(1s) / 512;

  // False: under load.
  bool Take(Instant now);

 private:
  std::optional<Instant> full_;  // when the bucket is full again
};

}  // namespace omni::noise
