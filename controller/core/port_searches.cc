// SPDX-License-Identifier: Apache-2.0
#include "controller/core/port_searches.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/log.h"
#include "controller/core/convert.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;

// LIMIT: peers of which we know that they were searched for in vain; beyond it the eldest one is
// searched for again.
constexpr size_t kMaxDone = 1024;

}  // namespace

void PortSearches::Start() { ArmTimer(0ns); }

void PortSearches::Stop() {
  timer_.cancel();
  running_.reset();
  asked_.clear();
}

void PortSearches::ArmTimer(Duration wait) {
  timer_.expires_after(wait);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) OnTimer();
  });
}

void PortSearches::OnTimer() {
  const Instant now = options_.clock();
  while (!asked_.empty() && asked_.front().when + kAnswersWithin <= now) asked_.pop_front();
  if (look_ <= now) Look(now);
  const bool is_awake = running_ && running_->rests_until <= now;
  if (is_awake) TryNext(now);
  ArmTimer(is_awake && running_ ? options_.pause : kLook);
}

// One that is under way goes on while there is still reason for it.
void PortSearches::Look(Instant now) {
  look_ = now + kLook;
  std::vector<Target> targets = options_.targets();
  if (running_) {
    const bool goes_on = std::ranges::any_of(targets, [&](const Target& target) {
      return target.peer == running_->target.peer && target.address == running_->target.address;
    });
    if (goes_on) return;
    running_.reset();
  }
  for (Target& target : targets) {
    const auto done = done_.find(target.peer);
    if (done != done_.end() && done->second.address == target.address &&
        now - done->second.ended < kNotBefore) {
      continue;
    }
    ++counters_.begun;
    PortSearch search(target.address, target.seen, options_.random());
    running_.emplace(Running{.target = std::move(target), .search = std::move(search)});
    return;
  }
}

void PortSearches::TryNext(Instant now) {
  const auto again = std::exchange(running_->again, std::nullopt);
  const auto place = again ? again : running_->search.Next();
  if (!place) {
    // The answers to the last ones may still come.
    if (asked_.empty()) End(now);
    return;
  }
  ++counters_.tries;
  const NodeId peer = running_->target.peer;
  const uint64_t token = options_.new_token();
  asked_.push_back({.token = token, .peer = peer, .at = *place, .when = now});
  dp::TryPathRequest request;
  request.set_peer_id(peer.ToBytes());
  request.set_token(token);
  ToProto(*place, *request.mutable_to());
  dataplane_.TryPath(request,
                     [this, peer, at = *place](const absl::StatusOr<dp::TryPathResponse>& tried) {
                       if (tried.ok() || !running_ || running_->target.peer != peer) return;
                       // There is no traffic that a direct way would be for.
                       running_->again = at;
                       running_->rests_until = options_.clock() + kLook;
                     });
}

void PortSearches::End(Instant now) {
  ++counters_.exhausted;
  const Target& target = running_->target;
  spdlog::info("peer {}: none of {} ports of {} leads to it", target.peer.ToString(),
               running_->search.tried(), target.address.ToString());
  if (done_.size() >= kMaxDone) {
    done_.erase(
        std::ranges::min_element(done_, {}, [](const auto& entry) { return entry.second.ended; }));
  }
  done_.insert_or_assign(target.peer, Done{.address = target.address, .ended = now});
  running_.reset();
}

bool PortSearches::OnEchoReply(uint64_t token) {
  const auto asked =
      std::ranges::find_if(asked_, [&](const Asked& one) { return one.token == token; });
  if (asked == asked_.end()) return false;
  const Asked answered = *asked;
  asked_.erase(asked);
  if (!running_ || running_->target.peer != answered.peer) return true;
  ++counters_.found;
  running_.reset();
  options_.found(answered.peer, answered.at);
  return true;
}

std::string PortSearches::Describe(const NodeId& peer) const {
  if (running_ && running_->target.peer == peer) {
    return fmt::format("{} of {} ports of {} tried", running_->search.tried(), PortSearch::kTotal,
                       running_->target.address.ToString());
  }
  const auto done = done_.find(peer);
  if (done == done_.end()) return "";
  return fmt::format("no port of {} leads to it", done->second.address.ToString());
}

}  // namespace omni
