// SPDX-License-Identifier: Apache-2.0
// What decides whether a relay, be it a Nucleus or a node, sends a datagram of session data on,
// once it is known whose channel it is for: long enough, its counter not seen, within the quotas.
// Nothing is read but the first 16 bytes, and nothing is changed: it leaves as large as it came.
// Pure: time is an argument. A channel has one owner; a quota may be shared by several.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/clock.h"
#include "common/replay_window.h"

namespace omni {

// First bytes of docs/PROTOCOL.md section 2.
inline constexpr uint8_t kSessionData = 4;
inline constexpr uint8_t kHandshakeInitiation = 5;
inline constexpr uint8_t kHandshakeResponse = 6;
inline constexpr uint8_t kCookieReply = 7;
// LIMIT: docs/PROTOCOL.md section 6: type, channel, counter and tag of session data.
inline constexpr size_t kSessionHeaderBytes = 32;
// LIMIT: proto/omni/signal/v1: 16 bulk channels and a control channel for each of some rekeys.
inline constexpr size_t kMaxOpenChannels = 64;
// LIMIT: some 20 ms of reordering at 100,000 packets a second; the receiver's window is larger.
inline constexpr uint64_t kRelayWindow = 2048;
// LIMIT: proto/omni/signal/v1: a little more than a session lives.
inline constexpr uint32_t kMaxOpenSeconds = 200;

struct RelayLimits {
  uint64_t pair_bytes_per_s = 12'500'000;    // from one node to another
  uint64_t total_bytes_per_s = 125'000'000;  // of all
  friend bool operator==(const RelayLimits&, const RelayLimits&) = default;
};

// So many bytes a second, and a quarter of that at once; no less than a super-packet. A token
// bucket kept as the time at which it will be full (GCRA, ITU-T I.371), so that one word holds it:
// channels of a pair belong to several workers, and their quota to the pair.
class RelayQuota {
 public:
  explicit RelayQuota(uint64_t bytes_per_s) : bytes_per_s_(bytes_per_s) {}
  // From now on; what was spent stays spent.
  void SetRate(uint64_t bytes_per_s) { bytes_per_s_.store(bytes_per_s, std::memory_order_relaxed); }
  bool Take(size_t bytes, Instant now);
  // As good as a new one.
  bool IsFull(Instant now) const;

 private:
  // ORDER: relaxed everywhere; each value stands for itself.
  std::atomic<uint64_t> bytes_per_s_;
  std::atomic<int64_t> full_at_ = 0;  // nanoseconds of the clock of `now`
};

struct RelayedChannel {
  ReplayWindow<kRelayWindow> window;
  std::shared_ptr<RelayQuota> pair;
};

enum class RelayVerdict : uint8_t {
  kForward,
  kMalformed,  // shorter than a session-data header
  kUnknown,    // nobody opened the channel for the sender, or its time is over
  kReplayed,
  kOverQuota,
};
inline constexpr size_t kRelayVerdicts = 5;

// Whether it is a whole handshake message by type and size: what goes through a relay's
// connections.
bool IsHandshake(std::span<const uint8_t> datagram);

// Of a datagram of at least kSessionHeaderBytes.
uint64_t RelayedChannelId(std::span<const uint8_t> datagram);

// Of a datagram for this channel, whose sender was found to be the one that it is open for.
RelayVerdict JudgeRelayed(std::span<const uint8_t> datagram, RelayedChannel& channel,
                          RelayQuota& total, Instant now);

}  // namespace omni
