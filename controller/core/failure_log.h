// SPDX-License-Identifier: Apache-2.0
// FailureLog: handshake failures as counters by reason and as few log lines, however many there
// are. Owned by the Controller, on the event loop.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "common/clock.h"
#include "controller/core/peer_table.h"
#include "controller/noise/engine.h"

namespace omni {

inline constexpr std::array kFailureReasons = {
    noise::FailureReason::kMalformed,      noise::FailureReason::kMac1,
    noise::FailureReason::kUnknownPeer,    noise::FailureReason::kDecrypt,
    noise::FailureReason::kAuthentication, noise::FailureReason::kReplay,
    noise::FailureReason::kDuplicate,      noise::FailureReason::kTooFast,
    noise::FailureReason::kUnexpected,     noise::FailureReason::kTimeout,
    noise::FailureReason::kRevoked,
};

// The label of the metric: "mac1", "unknown_peer", ...
std::string LabelOf(noise::FailureReason reason);

class FailureLog {
 public:
  // Counts, and logs the first of its reason and then one line a minute. For what cannot be laid at
  // a peer's door: anybody can cause it.
  void CountStranger(const noise::Failure& failure, Instant now);
  void Count(noise::FailureReason reason) { ++Of(reason).count; }
  // Sets the peer's last_error; logs it when it changed, and no more than once in ten seconds.
  static void NotePeerError(Peer& peer, const std::string& text, Instant now);

  uint64_t count(noise::FailureReason reason) const {
    return reasons_.at(static_cast<size_t>(reason)).count;
  }

 private:
  struct Reason {
    uint64_t count = 0;
    uint64_t logged_count = 0;
    std::optional<Instant> logged;
  };
  Reason& Of(noise::FailureReason reason) { return reasons_.at(static_cast<size_t>(reason)); }
  std::array<Reason, kFailureReasons.size()> reasons_;
};

}  // namespace omni
