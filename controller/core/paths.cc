// SPDX-License-Identifier: Apache-2.0
#include "controller/core/paths.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/status.h"
#include "controller/core/convert.h"
#include "controller/nat/private_address.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;

// LIMIT: as Handshakes': a machine that slept looks at the clock again within a second.
constexpr Duration kLongestWait = 1s;
// LIMIT: a try that is not answered by then is lost; what is forgotten earlier, when rounds follow
// each other quickly, is neither.
constexpr Duration kLostAfter = 1s;

}  // namespace

Paths::Paths(boost::asio::io_context& loop, DataplaneClient& dataplane, Options options)
    : dataplane_(dataplane), options_(std::move(options)), timer_(loop) {}

PathClass Paths::ClassOf(const NodeId& peer, const Endpoint& to) const {
  if (options_.is_relay(peer, to)) return PathClass::kRelay;
  // One that answers is on our own network, or on one that is joined to it.
  if (IsPrivate(to.address) || IsLinkLocal(to.address)) return PathClass::kLan;
  return to.address.is_v4() ? PathClass::kV4 : PathClass::kV6;
}

Paths::Entry& Paths::At(const NodeId& peer) {
  const PathRole role = options_.self < peer ? PathRole::kDecides : PathRole::kFollows;
  return entries_.try_emplace(peer, role).first->second;
}

void Paths::SetCandidates(const NodeId& peer, const std::vector<Endpoint>& candidates) {
  if (candidates.empty()) return Remove(peer);
  std::vector<PathCandidate> ways;
  ways.reserve(candidates.size());
  for (const Endpoint& to : candidates) ways.push_back({to, ClassOf(peer, to)});
  Entry& entry = At(peer);
  entry.chooser.SetCandidates(ways, options_.clock());
  Schedule(peer, entry);
}

void Paths::SetPresent(const NodeId& peer, const Endpoint& at) {
  const auto found = entries_.find(peer);
  if (found == entries_.end() || !at.is_set()) return;
  found->second.chooser.SetPresent({at, ClassOf(peer, at)}, options_.clock());
  Schedule(peer, found->second);
}

void Paths::OnSession(const NodeId& peer) {
  const auto found = entries_.find(peer);
  if (found == entries_.end()) return;
  found->second.chooser.Hurry(options_.clock());
  Schedule(peer, found->second);
}

void Paths::OnNetworkChange() {
  for (auto& [peer, entry] : entries_) {
    if (!entry.chooser.NextDeadline()) continue;  // no session
    if (entry.chooser.present().is_set()) Move(peer, entry.chooser.present());
    entry.chooser.Hurry(options_.clock());
    Schedule(peer, entry);
  }
}

void Paths::OnNoSession(const NodeId& peer) {
  const auto found = entries_.find(peer);
  if (found == entries_.end()) return;
  found->second.chooser.Rest();
  ForgetTries(found->second, 0);
  Schedule(peer, found->second);
}

void Paths::Remove(const NodeId& peer) {
  const auto found = entries_.find(peer);
  if (found == entries_.end()) return;
  found->second.chooser.Rest();
  ForgetTries(found->second, 0);
  Schedule(peer, found->second);
  entries_.erase(found);
}

void Paths::Stop() {
  for (auto& [peer, entry] : entries_) {
    entry.chooser.Rest();
    ForgetTries(entry, 0);
    Schedule(peer, entry);
  }
}

void Paths::ForgetTries(Entry& entry, size_t rounds_kept) {
  while (entry.tokens.size() > rounds_kept) {
    for (const uint64_t token : entry.tokens.front()) asked_.erase(token);
    entry.tokens.erase(entry.tokens.begin());
  }
}

bool Paths::OnEchoReply(uint64_t token, Duration rtt) {
  const auto asked = asked_.extract(token);
  if (asked.empty()) return false;
  const NodeId peer = asked.mapped().peer;
  Entry& entry = entries_.at(peer);
  if (asked.mapped().one.to == entry.chooser.present() && !asked.mapped().is_lost) {
    options_.on_outcome(peer, LossWindow::Outcome::kAnswered);
  }
  const auto move = entry.chooser.OnAnswer(asked.mapped().one, rtt, options_.clock());
  if (!move) return true;
  Move(peer, *move);
  options_.on_move(peer, *move);
  return true;
}

void Paths::Take(const NodeId& peer, const Endpoint& at) {
  if (!entries_.contains(peer)) return;
  SetPresent(peer, at);
  Move(peer, at);
  options_.on_move(peer, at);
}

void Paths::Move(const NodeId& peer, const Endpoint& to) {
  dp::MovePeerRequest request;
  request.set_peer_id(peer.ToBytes());
  ToProto(to, *request.mutable_to());
  // When it is refused, the endpoint that the dataplane tells next says so.
  dataplane_.MovePeer(request, [](const absl::StatusOr<dp::MovePeerResponse>& moved) {
    if (!moved.ok()) spdlog::debug("move peer: {}", Message(moved.status()));
  });
}

void Paths::OnTimer() {
  const Instant now = options_.clock();
  while (!due_.empty() && due_.begin()->first <= now) {
    const NodeId peer = due_.begin()->second;
    Entry& entry = entries_.at(peer);
    StartRound(peer, entry, now);
    Schedule(peer, entry);
  }
}

void Paths::CountLost(const NodeId& peer, Entry& entry, Instant now) {
  for (const std::vector<uint64_t>& round : entry.tokens) {
    for (const uint64_t token : round) {
      const auto asked = asked_.find(token);
      if (asked == asked_.end() || asked->second.is_lost) continue;  // answered, or refused
      if (asked->second.one.to != entry.chooser.present()) continue;
      if (now - asked->second.at < kLostAfter) continue;
      asked->second.is_lost = true;
      options_.on_outcome(peer, LossWindow::Outcome::kLost);
    }
  }
}

void Paths::StartRound(const NodeId& peer, Entry& entry, Instant now) {
  CountLost(peer, entry, now);
  const std::vector<PathChooser::Try> tries = entry.chooser.OnTimer(now);
  if (tries.empty()) return;
  ForgetTries(entry, PathChooser::kAliveRounds - 1);
  std::vector<uint64_t>& tokens = entry.tokens.emplace_back();
  for (const PathChooser::Try& one : tries) {
    const uint64_t token = options_.new_token();
    tokens.push_back(token);
    asked_.insert_or_assign(token, Asked{.peer = peer, .one = one, .at = now});
    dp::TryPathRequest request;
    request.set_peer_id(peer.ToBytes());
    request.set_token(token);
    ToProto(one.to, *request.mutable_to());
    // Refused where there is no traffic: the next round asks again.
    dataplane_.TryPath(request, [this, token](const absl::StatusOr<dp::TryPathResponse>& tried) {
      if (!tried.ok()) asked_.erase(token);
    });
  }
}

// Puts the peer where its deadline belongs, and sets the timer to the first of all. By value: the
// id may be the one that stands in `due_`.
void Paths::Schedule(NodeId peer, Entry& entry) {
  if (entry.due) due_.erase({*entry.due, peer});
  entry.due = entry.chooser.NextDeadline();
  if (entry.due) due_.insert({*entry.due, peer});
  if (due_.empty()) {
    timer_.cancel();
    return;
  }
  timer_.expires_after(
      std::clamp<Duration>(due_.begin()->first - options_.clock(), 0ns, kLongestWait));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    OnTimer();
    if (!due_.empty()) Schedule(due_.begin()->second, entries_.at(due_.begin()->second));
  });
}

}  // namespace omni
