// SPDX-License-Identifier: Apache-2.0
// ControlFilter: which control datagrams may reach the controller. Known kinds of the right size, a
// right mac1 (a stranger does not even know our static key), and no more per source prefix than a
// token bucket gives. Cookie replies carry no mac1, so anybody can make them up under any address:
// all of them share one bucket, and take no place of those who know us. Stateless but for a fixed
// table of buckets. Owned by one worker.
#pragma once

#include <sodium.h>

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"
#include "dataplane/core/drop.h"

namespace omni {

class ControlFilter {
 public:
  ControlFilter();

  void SetMac1Key(std::span<const uint8_t, 32> key);

  // Empty when the datagram may pass.
  std::optional<DropReason> Check(std::span<const uint8_t> datagram, const IpAddress& source,
                                  Instant now);

 private:
  // LIMIT: a source prefix (/24, /56) may send 200 handshake messages at once and 50 a second: 30
  // machines behind one NAT that all start together pass, a flood does not fill the controller's
  // queue.
  static constexpr double kBurst = 200;
  static constexpr double kPerSecond = 50;
  // LIMIT: 4,096 buckets under a keyed hash; prefixes that collide share one.
  static constexpr size_t kBuckets = 4096;

  struct Bucket {
    double tokens = kBurst;
    Instant filled;
  };

  static bool TakeToken(Bucket& bucket, Instant now);
  Bucket& BucketOf(const IpAddress& source);

  std::array<uint8_t, 32> mac1_key_{};
  bool has_key_ = false;
  std::array<uint8_t, crypto_shorthash_KEYBYTES> hash_key_{};
  std::vector<Bucket> buckets_{kBuckets};
  Bucket cookie_replies_;
};

}  // namespace omni
