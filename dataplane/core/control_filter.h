// SPDX-License-Identifier: Apache-2.0
// ControlFilter: which control datagrams may reach the controller. Known kinds of the right size, a
// right mac1 (a stranger does not even know our static key), and no more per source prefix than a
// token bucket gives; QUIC of the controller's own connections and STUN responses to its own
// requests, by their ids; beacons, and QUIC that begins, of members of the cluster. What anybody
// can make up under any address (cookie replies, QUIC of no connection: a stateless reset) shares a
// bucket of its kind, and takes no place of those who know us. Stateless but for a fixed table of
// buckets. Owned by one worker.
#pragma once

#include <sodium.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"
#include "common/knock.h"
#include "common/quic_cid.h"
#include "common/stun_id.h"
#include "dataplane/core/drop.h"

namespace omni {

// By which a controller's datagrams are known. Without a key for QUIC or STUN, none of it passes.
struct ControlKeys {
  std::array<uint8_t, 32> mac1{};
  std::optional<QuicCidKey> quic;
  std::optional<StunKey> stun;
  // LIMIT: one of the present secret of the cluster, one of the secret before or after it.
  static constexpr size_t kSecrets = 2;
  std::array<std::optional<std::array<uint8_t, 32>>, kSecrets> beacons;
  std::array<std::optional<KnockKey>, kSecrets> knocks;
};

class ControlFilter {
 public:
  ControlFilter();

  void SetKeys(const ControlKeys& keys) { keys_ = keys; }

  // Empty when the datagram may pass.
  std::optional<DropReason> Check(std::span<const uint8_t> datagram, const IpAddress& source,
                                  Instant now);

 private:
  struct Rate {
    double burst = 0;
    double per_second = 0;
  };
  // LIMIT: a source prefix (/24, /56) may send 200 handshake messages at once and 50 a second: 30
  // machines behind one NAT that all start together pass, a flood does not fill the controller's
  // queue.
  static constexpr Rate kHandshakes = {.burst = 200, .per_second = 50};
  // LIMIT: a list of 10,000 records comes in some 5,000 datagrams; the sender's flow control fits
  // itself to what is lost.
  static constexpr Rate kQuic = {.burst = 2048, .per_second = 4096};
  // LIMIT: a controller asks some servers a few times a minute; the rest are duplicates.
  static constexpr Rate kStun = {.burst = 64, .per_second = 32};
  // LIMIT: as many TLS handshakes take a core a thirtieth of its time; a node has few neighbours
  // that want to know something at once.
  static constexpr Rate kKnocks = {.burst = 64, .per_second = 32};
  // LIMIT: 250 neighbours that hear of a newcomer answer within a second.
  static constexpr Rate kBeacons = {.burst = 256, .per_second = 64};
  static constexpr size_t kMaxStunBytes = 548;  // LIMIT: RFC 8489 section 6.1, for IPv4
  // LIMIT: the inner MTU of Ethernet; ours have 1,200 bytes.
  static constexpr size_t kMaxQuicBytes = 1500;
  // LIMIT: 4,096 buckets under a keyed hash; prefixes that collide share one.
  static constexpr size_t kBuckets = 4096;

  struct Bucket {
    double tokens = 0;  // full since the clock's zero
    Instant filled;
  };

  static bool TakeToken(Bucket& bucket, Rate rate, Instant now);
  std::optional<DropReason> CheckQuic(std::span<const uint8_t> datagram, Instant now);
  std::optional<DropReason> CheckStun(std::span<const uint8_t> datagram, Instant now);
  bool HasKnockOfMember(std::span<const uint8_t> datagram) const;
  bool IsBeaconOfMember(std::span<const uint8_t> datagram) const;
  std::optional<DropReason> CheckBeacon(std::span<const uint8_t> datagram, Instant now);
  Bucket& BucketOf(const IpAddress& source);

  std::optional<ControlKeys> keys_;  // unset: no controller was here yet
  std::array<uint8_t, crypto_shorthash_KEYBYTES> hash_key_{};
  std::vector<Bucket> buckets_{kBuckets};
  Bucket cookie_replies_;
  Bucket quic_;
  Bucket strange_quic_;
  Bucket stun_;
  Bucket knocks_;
  Bucket beacons_;
};

}  // namespace omni
