// SPDX-License-Identifier: Apache-2.0
// PathMtuSearch: finds and watches the largest datagram that the path to one peer carries (RFC
// 8899, states of section 5.2), by probes of a size and the answers to them. All sizes count the
// outer IP header. Pure: time is an argument; the hub owns one per peer, ticks it a few times a
// second and sends what it asks for. What it promises the data path is two sizes: carries() passes
// whole, larger ones up to limit() go in pieces.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/clock.h"

namespace omni {

// What is known of the traffic with a peer. Zero instants: never.
struct PathTraffic {
  Instant last_data_tx;
  Instant last_large_tx;  // a datagram larger than PathMtuSearch::kSmallest
  Instant last_rx;        // anything authentic
};

class PathMtuSearch {
 public:
  enum class State : uint8_t {
    kBase,       // nothing is known yet; 1,280 bytes are assumed
    kSearching,  // probes are under way
    kComplete,   // carries() is the largest that passes
    kError,      // not even 1,280 bytes pass
  };

  // LIMIT: BASE_PLPMTU: what IPv6 asks of every link (RFC 8200 section 5), for IPv4 just as well.
  static constexpr uint32_t kBase = 1280;
  // LIMIT: MIN_PLPMTU: what every IPv4 host can take (RFC 1122 section 3.3.3).
  static constexpr uint32_t kSmallest = 576;

  // A new path, whose interface takes `largest` bytes. Nothing is sent before there is traffic.
  void Restart(uint32_t largest);
  // The interface takes another size now.
  void SetLargest(uint32_t largest, Instant now);

  // Sizes to probe now, each once.
  std::vector<uint32_t> Tick(const PathTraffic& traffic, Instant now);
  // The answer to a probe of this size, sent since Restart(), came; gives sizes to probe now.
  std::vector<uint32_t> Answered(uint32_t size, Duration rtt, Instant now);

  uint32_t carries() const { return carries_; }
  uint32_t limit() const { return settled_ ? carries_ : largest_; }
  State state() const;

 private:
  enum class Mode : uint8_t {
    kWait,     // for traffic
    kBase,     // the base size and the largest one are under way
    kSearch,   // candidates between carries_ and fails_ are under way
    kHold,     // done
    kConfirm,  // carries_ is under way: does it still pass?
    kRaise,    // fails_ and largest_ are under way: do they pass by now?
  };

  // Starts a round: its sizes are sent now, and again until each is answered or given up.
  std::vector<uint32_t> Begin(Mode mode, std::vector<uint32_t> sizes, Instant now);
  std::vector<uint32_t> BeginBase(Instant now);
  // The next round of the search, or its end.
  std::vector<uint32_t> Continue(Instant now);
  std::vector<uint32_t> Candidates() const;
  std::vector<uint32_t> OnTimeout(Instant now);
  std::vector<uint32_t> Repeat() const;
  std::vector<uint32_t> GiveUp(Instant now);
  std::vector<uint32_t> WhileHolding(const PathTraffic& traffic, Instant now);
  void Settle(Instant now);
  Duration timeout() const;

  Mode mode_ = Mode::kWait;
  uint32_t largest_ = kBase;
  uint32_t carries_ = kBase;
  uint32_t fails_ = kBase + 1;   // the smallest size that is known not to pass, or largest_ + 1
  bool settled_ = false;         // a search has ended since the path was new or was lost
  std::vector<uint32_t> round_;  // unanswered, ascending
  // Of this round: attempts in which something was answered but not all, and nothing at all.
  int evidence_ = 0;
  int silent_ = 0;
  bool answered_ = false;       // something of this attempt
  bool base_answered_ = false;  // kBase, in this round
  Instant sent_;
  Instant proven_;  // when a probe of carries_ or more was last answered
  Instant raise_at_;
  Instant retry_at_;
  Duration raise_interval_{};
  std::optional<Duration> rtt_;
};

}  // namespace omni
