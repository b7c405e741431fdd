// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/control_filter.h"

#include <algorithm>
#include <cstring>

#include "bpf/abi.h"
#include "common/wire.h"

namespace omni {
namespace {

struct Expected {
  size_t size = 0;
  bool has_mac1 = false;
};

std::optional<Expected> ExpectedOf(uint8_t type) {
  switch (type) {
    case OMNI_MSG_INITIATION:
      return Expected{sizeof(wire::Initiation), true};
    case OMNI_MSG_RESPONSE:
      return Expected{sizeof(wire::Response), true};
    case OMNI_MSG_COOKIE:
      return Expected{sizeof(wire::CookieReply), false};
    default:
      return std::nullopt;
  }
}

}  // namespace

ControlFilter::ControlFilter() { randombytes_buf(hash_key_.data(), hash_key_.size()); }

void ControlFilter::SetMac1Key(std::span<const uint8_t, 32> key) {
  std::ranges::copy(key, mac1_key_.begin());
  has_key_ = true;
}

std::optional<DropReason> ControlFilter::Check(std::span<const uint8_t> datagram,
                                               const IpAddress& source, Instant now) {
  const auto expected = ExpectedOf(datagram[0]);
  if (!expected) return DropReason::rx_unknown_type;
  if (datagram.size() < expected->size) return DropReason::rx_truncated;
  if (datagram.size() > expected->size) return DropReason::rx_oversized;
  if (!has_key_) return DropReason::rx_control_no_controller;
  if (expected->has_mac1 && !wire::Mac1IsValid(datagram, mac1_key_)) {
    return DropReason::rx_control_mac1;
  }
  Bucket& bucket = expected->has_mac1 ? BucketOf(source) : cookie_replies_;
  if (!TakeToken(bucket, now)) return DropReason::rx_control_rate;
  return std::nullopt;
}

ControlFilter::Bucket& ControlFilter::BucketOf(const IpAddress& source) {
  const IpAddress prefix = MaskTo(source, source.is_v4() ? 24 : 56);
  uint64_t hash = 0;
  crypto_shorthash(reinterpret_cast<uint8_t*>(&hash), prefix.bytes.data(), prefix.bytes.size(),
                   hash_key_.data());
  return buckets_[hash % kBuckets];
}

bool ControlFilter::TakeToken(Bucket& bucket, Instant now) {
  const std::chrono::duration<double> elapsed = now - bucket.filled;
  bucket.tokens = std::min(kBurst, bucket.tokens + elapsed.count() * kPerSecond);
  bucket.filled = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

}  // namespace omni
