// SPDX-License-Identifier: Apache-2.0
#include "dataplane/hub/path_mtu.h"

#include <algorithm>
#include <array>
#include <utility>

namespace omni {
namespace {

// LIMIT: MTUs that paths really have: tunnels over Ethernet and mobile networks, PPPoE (1,492),
// Ethernet, FDDI and jumbo frames. Tried before anything between them.
constexpr std::array<uint32_t, 17> kWellKnown = {1006, 1200, 1280, 1340, 1358, 1380,
                                                 1400, 1420, 1440, 1460, 1480, 1492,
                                                 1500, 2048, 4352, 8192, 9000};
// LIMIT: sizes under way at once: two rounds of eight find one size among the 220 between base and
// Ethernet. RFC 8899 has one at a time and one a second at the most; a handful of packets per new
// path congests nothing and spares the seconds.
constexpr size_t kRound = 8;
// LIMIT: a size is given up when it stayed unanswered in this many attempts in which a smaller one
// was answered. Attempts without any answer say nothing: congestion must not look like a narrow
// path. At a loss of two thirds 3 are wrong in 6 of 100 cases, and 6, for a size that did pass, in
// 4 of 1,000. (MAX_PROBES of RFC 8899 section 5.1.2 is 3.)
constexpr int kEvidence = 3;
constexpr int kBlackHoleEvidence = 6;
// LIMIT: so many attempts without any answer end the probing for a while.
constexpr int kSilentAttempts = 8;
// LIMIT: the search ends when it knows the size to this many bytes.
constexpr uint32_t kExact = 8;
// LIMIT: how long an answer may take: three round trips within these bounds.
constexpr Duration kShortTimeout = 300ms;
constexpr Duration kLongTimeout = 3s;
constexpr Duration kFirstTimeout = 1s;
// LIMIT: data within this time makes a path worth probing.
constexpr Duration kActive = 5s;
// LIMIT: the confirmed size is confirmed again this often while large packets are sent, and at once
// when nothing comes back for a second.
constexpr Duration kConfirmInterval = 5s;
constexpr Duration kSilence = 1s;
// LIMIT: PMTU_RAISE_TIMER of RFC 8899 section 5.1.1 is 600 s. The first raises come sooner, for a
// black hole is often a route that flaps.
constexpr Duration kFirstRaise = 10s;
constexpr Duration kLastRaise = 600s;

bool WasWithin(Instant event, Duration age, Instant now) {
  return event != Instant{} && now - event < age;
}

}  // namespace

void PathMtuSearch::Restart(uint32_t largest) {
  *this = PathMtuSearch();
  largest_ = std::max(largest, kSmallest);
  carries_ = std::min(kBase, largest_);
  fails_ = largest_ + 1;
}

void PathMtuSearch::SetLargest(uint32_t largest, Instant now) {
  largest = std::max(largest, kSmallest);
  if (largest == largest_) return;
  const bool grows = largest > largest_;
  const bool was_open = fails_ == largest_ + 1;
  largest_ = largest;
  carries_ = std::min(carries_, largest_);
  fails_ = was_open ? largest_ + 1 : std::min(fails_, largest_ + 1);
  round_.clear();
  mode_ = settled_ ? Mode::kHold : Mode::kWait;
  if (grows) raise_at_ = now;
}

PathMtuSearch::State PathMtuSearch::state() const {
  if (mode_ == Mode::kWait || mode_ == Mode::kBase) return State::kBase;
  if (carries_ < kBase && carries_ < largest_) return State::kError;
  return settled_ ? State::kComplete : State::kSearching;
}

Duration PathMtuSearch::timeout() const {
  return rtt_ ? std::clamp(*rtt_ * 3, kShortTimeout, kLongTimeout) : kFirstTimeout;
}

std::vector<uint32_t> PathMtuSearch::Begin(Mode mode, std::vector<uint32_t> sizes, Instant now) {
  mode_ = mode;
  std::ranges::sort(sizes);
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  round_ = std::move(sizes);
  evidence_ = silent_ = 0;
  answered_ = base_answered_ = false;
  sent_ = now;
  return round_;
}

std::vector<uint32_t> PathMtuSearch::BeginBase(Instant now) {
  return Begin(Mode::kBase, {std::min(kBase, largest_), largest_}, now);
}

std::vector<uint32_t> PathMtuSearch::Tick(const PathTraffic& traffic, Instant now) {
  switch (mode_) {
    case Mode::kWait:
      if (!WasWithin(traffic.last_data_tx, kActive, now) || now < retry_at_) return {};
      return BeginBase(now);
    case Mode::kHold:
      return WhileHolding(traffic, now);
    default:
      if (now - sent_ < timeout()) return {};
      return OnTimeout(now);
  }
}

std::vector<uint32_t> PathMtuSearch::WhileHolding(const PathTraffic& traffic, Instant now) {
  if (now >= raise_at_ && carries_ < largest_ && WasWithin(traffic.last_data_tx, kActive, now)) {
    return Begin(Mode::kRaise, {std::min(std::max(fails_, carries_ + 1), largest_), largest_}, now);
  }
  if (carries_ <= kSmallest || traffic.last_large_tx <= proven_ || now < retry_at_) return {};
  const bool silent = traffic.last_rx < traffic.last_large_tx &&
                      now - traffic.last_rx >= kSilence && now - proven_ >= kSilence;
  if (!silent && now - proven_ < kConfirmInterval) return {};
  return Begin(Mode::kConfirm, {carries_}, now);
}

std::vector<uint32_t> PathMtuSearch::Answered(uint32_t size, Duration rtt, Instant now) {
  if (size > largest_) return {};  // the interface shrank meanwhile
  rtt_ = rtt;
  answered_ = true;
  base_answered_ |= size == kBase;
  if (size >= carries_) proven_ = now;
  carries_ = std::max(carries_, size);
  if (fails_ <= carries_) fails_ = largest_ + 1;
  std::erase_if(round_, [&](uint32_t other) { return other <= size; });
  if (!round_.empty()) return {};
  switch (mode_) {
    case Mode::kWait:
      return {};
    case Mode::kHold:
    case Mode::kConfirm:
      mode_ = Mode::kHold;
      return {};
    default:
      return Continue(now);
  }
}

std::vector<uint32_t> PathMtuSearch::OnTimeout(Instant now) {
  std::exchange(answered_, false) ? ++evidence_ : ++silent_;
  if (evidence_ >= (mode_ == Mode::kConfirm ? kBlackHoleEvidence : kEvidence)) return GiveUp(now);
  // The base passed: the largest is one candidate among others now.
  if (mode_ == Mode::kBase && round_.front() > kBase) return Continue(now);
  if (silent_ >= kSilentAttempts) {
    retry_at_ = now + kFirstTimeout;
    round_.clear();
    mode_ = settled_ ? Mode::kHold : Mode::kWait;
    return {};
  }
  sent_ = now;
  return Repeat();
}

std::vector<uint32_t> PathMtuSearch::Repeat() const {
  // What is larger passes only if these do.
  const auto count = static_cast<ptrdiff_t>(std::min<size_t>(2, round_.size()));
  std::vector<uint32_t> out(round_.begin(), round_.begin() + count);
  // Does anything smaller pass? One probe to compare with: two would be answered more often.
  if (mode_ == Mode::kConfirm && out.front() > kBase) out.insert(out.begin(), kBase);
  if (out.front() > kSmallest && !base_answered_) out.insert(out.begin(), kSmallest);
  return out;
}

std::vector<uint32_t> PathMtuSearch::GiveUp(Instant now) {
  switch (mode_) {
    case Mode::kBase:
      if (round_.front() <= kBase) {
        fails_ = round_.front();
        carries_ = std::min(kSmallest, carries_);
      }
      break;
    case Mode::kConfirm:  // a black hole
      fails_ = round_.front();
      carries_ = base_answered_ ? kBase : kSmallest;
      settled_ = false;
      raise_interval_ = {};
      break;
    case Mode::kRaise:
      if (fails_ <= largest_) {  // nothing has changed
        Settle(now);
        return {};
      }
      fails_ = round_.front();
      break;
    default:
      fails_ = round_.front();
      break;
  }
  return Continue(now);
}

std::vector<uint32_t> PathMtuSearch::Continue(Instant now) {
  std::vector<uint32_t> next = Candidates();
  if (next.empty()) {
    Settle(now);
    return {};
  }
  return Begin(Mode::kSearch, std::move(next), now);
}

std::vector<uint32_t> PathMtuSearch::Candidates() const {
  std::vector<uint32_t> out;
  for (const uint32_t size : kWellKnown) {
    if (size > carries_ && size < fails_) out.push_back(size);
  }
  const bool open = fails_ > largest_;
  if (open && carries_ < largest_ && (out.empty() || out.back() < largest_))
    out.push_back(largest_);
  // The upper ones first: the larger ones of what is left follow in the next round.
  if (out.size() > kRound) out.erase(out.begin(), out.end() - kRound);
  if (!out.empty() || fails_ - carries_ <= kExact) return out;
  const uint32_t gap = fails_ - carries_;
  for (uint32_t i = 1; i <= kRound; ++i) {
    const uint32_t size = carries_ + gap * i / (kRound + 1);
    if (size > carries_ && (out.empty() || size > out.back())) out.push_back(size);
  }
  return out;
}

void PathMtuSearch::Settle(Instant now) {
  mode_ = Mode::kHold;
  round_.clear();
  settled_ = true;
  proven_ = now;
  raise_interval_ =
      raise_interval_ == Duration{} ? kFirstRaise : std::min(raise_interval_ * 2, kLastRaise);
  raise_at_ = now + raise_interval_;
}

}  // namespace omni
