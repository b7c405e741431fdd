// SPDX-License-Identifier: Apache-2.0
#include "common/relay/relay.h"

#include <algorithm>

#include "common/wire.h"

namespace omni {
namespace {

// LIMIT: a super-packet, sent at once.
constexpr uint64_t kLeastBurst = 65'536;
constexpr int64_t kSecond = 1'000'000'000;

uint64_t NumberAt(std::span<const uint8_t> datagram, size_t at) {
  uint64_t number = 0;
  for (size_t i = 8; i-- > 0;) number = number << 8U | datagram[at + i];
  return number;
}

int64_t Nanoseconds(Instant now) { return now.time_since_epoch().count(); }

}  // namespace

bool RelayQuota::Take(size_t bytes, Instant now) {
  const uint64_t rate = bytes_per_s_.load(std::memory_order_relaxed);
  if (rate == 0) return false;
  const auto time_of = [rate](uint64_t count) {
    return static_cast<int64_t>((count * kSecond + rate - 1) / rate);
  };
  const int64_t at = Nanoseconds(now);
  const int64_t latest = at + std::max(kSecond / 4, time_of(kLeastBurst));
  int64_t full_at = full_at_.load(std::memory_order_relaxed);
  int64_t then = 0;
  do {
    then = std::max(full_at, at) + time_of(bytes);
    if (then > latest) return false;
  } while (!full_at_.compare_exchange_weak(full_at, then, std::memory_order_relaxed));
  return true;
}

bool RelayQuota::IsFull(Instant now) const {
  return full_at_.load(std::memory_order_relaxed) <= Nanoseconds(now);
}

bool IsHandshake(std::span<const uint8_t> datagram) {
  if (datagram.empty()) return false;
  switch (datagram[0]) {
    case kHandshakeInitiation:
      return datagram.size() == sizeof(wire::Initiation);
    case kHandshakeResponse:
      return datagram.size() == sizeof(wire::Response);
    case kCookieReply:
      return datagram.size() == sizeof(wire::CookieReply);
    default:
      return false;
  }
}

uint64_t RelayedChannelId(std::span<const uint8_t> datagram) { return NumberAt(datagram, 0); }

RelayVerdict JudgeRelayed(std::span<const uint8_t> datagram, RelayedChannel& channel,
                          RelayQuota& total, Instant now) {
  if (datagram.size() < kSessionHeaderBytes) return RelayVerdict::kMalformed;
  // Before the quota: a replay must not cost the pair anything.
  if (channel.window.Accept(NumberAt(datagram, 8)) == ReplayVerdict::kReplay) {
    return RelayVerdict::kReplayed;
  }
  if (!channel.pair->Take(datagram.size(), now) || !total.Take(datagram.size(), now)) {
    return RelayVerdict::kOverQuota;
  }
  return RelayVerdict::kForward;
}

}  // namespace omni
