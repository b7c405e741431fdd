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

std::optional<DropReason> ControlFilter::Check(std::span<const uint8_t> datagram,
                                               const IpAddress& source, Instant now) {
  if (IsQuic(datagram[0]) && keys_ && keys_->quic) return CheckQuic(datagram, now);
  if (keys_ && keys_->stun && IsStun(datagram)) return CheckStun(datagram, now);
  if (datagram[0] == OMNI_MSG_BEACON && keys_ && keys_->beacons[0])
    return CheckBeacon(datagram, now);
  const auto expected = ExpectedOf(datagram[0]);
  if (!expected) return DropReason::rx_unknown_type;
  if (datagram.size() < expected->size) return DropReason::rx_truncated;
  if (datagram.size() > expected->size) return DropReason::rx_oversized;
  if (!keys_) return DropReason::rx_control_no_controller;
  if (expected->has_mac1 && !wire::Mac1IsValid(datagram, keys_->mac1)) {
    return DropReason::rx_control_mac1;
  }
  Bucket& bucket = expected->has_mac1 ? BucketOf(source) : cookie_replies_;
  if (!TakeToken(bucket, kHandshakes, now)) return DropReason::rx_control_rate;
  return std::nullopt;
}

std::optional<DropReason> ControlFilter::CheckQuic(std::span<const uint8_t> datagram, Instant now) {
  if (datagram.size() > kMaxQuicBytes) return DropReason::rx_oversized;
  bool passes = false;
  if (HasQuicCidOf(datagram, *keys_->quic)) {
    passes = TakeToken(quic_, kQuic, now);
  } else if (!IsLongQuic(datagram[0])) {
    passes = TakeToken(strange_quic_, kHandshakes, now);
  } else if (HasKnockOfMember(datagram)) {
    passes = TakeToken(knocks_, kKnocks, now);
  } else {
    return DropReason::rx_quic_stranger;
  }
  return passes ? std::nullopt : std::optional(DropReason::rx_control_rate);
}

std::optional<DropReason> ControlFilter::CheckBeacon(std::span<const uint8_t> datagram,
                                                     Instant now) {
  if (datagram.size() < sizeof(wire::Beacon)) return DropReason::rx_truncated;
  if (datagram.size() > sizeof(wire::Beacon)) return DropReason::rx_oversized;
  if (!IsBeaconOfMember(datagram)) return DropReason::rx_beacon_stranger;
  if (!TakeToken(beacons_, kBeacons, now)) return DropReason::rx_control_rate;
  return std::nullopt;
}

bool ControlFilter::HasKnockOfMember(std::span<const uint8_t> datagram) const {
  return std::ranges::any_of(
      keys_->knocks, [&](const auto& key) { return key.has_value() && HasKnock(datagram, *key); });
}

bool ControlFilter::IsBeaconOfMember(std::span<const uint8_t> datagram) const {
  return std::ranges::any_of(keys_->beacons, [&](const auto& key) {
    return key.has_value() && wire::BeaconIsAuthentic(datagram, *key);
  });
}

// Requests as well end here: a node is no server, and whoever asks it is a stranger.
std::optional<DropReason> ControlFilter::CheckStun(std::span<const uint8_t> datagram, Instant now) {
  if (!IsStunResponseOf(datagram, *keys_->stun)) return DropReason::rx_stun_stranger;
  if (datagram.size() > kMaxStunBytes) return DropReason::rx_oversized;
  if (!TakeToken(stun_, kStun, now)) return DropReason::rx_control_rate;
  return std::nullopt;
}

ControlFilter::Bucket& ControlFilter::BucketOf(const IpAddress& source) {
  const IpAddress prefix = MaskTo(source, source.is_v4() ? 24 : 56);
  uint64_t hash = 0;
  crypto_shorthash(reinterpret_cast<uint8_t*>(&hash), prefix.bytes.data(), prefix.bytes.size(),
                   hash_key_.data());
  return buckets_[hash % kBuckets];
}

bool ControlFilter::TakeToken(Bucket& bucket, Rate rate, Instant now) {
  const std::chrono::duration<double> elapsed = now - bucket.filled;
  bucket.tokens = std::min(rate.burst, bucket.tokens + elapsed.count() * rate.per_second);
  bucket.filled = now;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

}  // namespace omni
