// SPDX-License-Identifier: Apache-2.0
// ControlFilter: which control datagrams may reach the controller. Known kinds of the right size, a
// right mac1 (a stranger does not even know our static key), and no more per source prefix than a
// token bucket gives; QUIC of the controller's own connections, by their ids. What anybody can make
// up under any address (cookie replies, QUIC of no connection: a stateless reset) shares a bucket
// of its kind, and takes no place of those who know us. Stateless but for a fixed table of buckets.
// Owned by one worker.
#pragma once

#include <sodium.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"
#include "common/quic_cid.h"
#include "dataplane/core/drop.h"

namespace omni {

class ControlFilter {
 public:
  ControlFilter();

  // Without a key for QUIC, none of it passes.
  void SetKeys(std::span<const uint8_t, 32> mac1, const std::optional<QuicCidKey>& quic);

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
  Bucket& BucketOf(const IpAddress& source);

  std::array<uint8_t, 32> mac1_key_{};
  bool has_key_ = false;
  std::array<uint8_t, crypto_shorthash_KEYBYTES> hash_key_{};
  std::vector<Bucket> buckets_{kBuckets};
  Bucket cookie_replies_;
  std::optional<QuicCidKey> quic_key_;
  Bucket quic_;
  Bucket strange_quic_;
};

}  // namespace omni
