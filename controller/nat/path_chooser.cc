// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/path_chooser.h"

#include <algorithm>
#include <array>
#include <utility>

namespace omni {
namespace {

// LIMIT: a way that has died is left with the third round, after 0.2 s, and NATs on both sides have
// opened after the first two; those who are far away, or too busy at first, need the later ones.
constexpr std::array<Duration, 8> kQuickIntervals = {100ms, 100ms,  200ms,  400ms,
                                                     800ms, 1600ms, 3200ms, 6400ms};
// LIMIT: under 30 s, the shortest time for which NATs keep a UDP mapping in practice; a round is
// at most 17 datagrams of 56 bytes.
constexpr Duration kInterval = 25s;
constexpr size_t kMaxPaths = 17;
// LIMIT: a path of the same class has to be a fifth and a millisecond faster in three rounds in a
// row: each move makes the search for the path's MTU begin anew.
constexpr int kFasterRounds = 3;
constexpr Duration kClearly = 1ms;
// LIMIT: so long (0.8 s) who decides has for leaving a relay before the other does.
constexpr uint32_t kFollowerRounds = 5;

}  // namespace

std::string_view Name(PathClass path_class) {
  switch (path_class) {
    case PathClass::kLan:
      return "lan";
    case PathClass::kV6:
      return "direct v6";
    case PathClass::kV4:
      return "direct v4";
    case PathClass::kRelay:
      return "relay";
  }
  return "unknown";
}

void PathChooser::SetCandidates(const std::vector<PathCandidate>& candidates, Instant now) {
  if (candidates == candidates_) return;
  const bool was_candidate = IsCandidate(present_.to);
  candidates_ = candidates;
  // The peer says that it is not there any more. Where it was seen, and never said it was, is
  // another matter.
  is_withdrawn_ = (is_withdrawn_ || was_candidate) && !IsCandidate(present_.to);
  if (next_round_) Hurry(now);
}

// Anew, and what is known of each stays known.
void PathChooser::ListPaths() {
  std::vector<Path> paths;
  const auto add = [&](const PathCandidate& at) {
    const bool is_listed = std::any_of(paths.begin(), paths.end(),
                                       [&](const Path& path) { return path.at.to == at.to; });
    if (is_listed || paths.size() >= kMaxPaths) return;
    const Path* before = Find(at.to);
    paths.push_back(before != nullptr ? *before : Path{.at = at, .answered = round_});
    paths.back().at = at;  // of another class now, perhaps
  };
  if (present_.to.is_set()) add(present_);
  for (const PathCandidate& candidate : candidates_) add(candidate);
  paths_ = std::move(paths);
}

void PathChooser::SetPresent(const PathCandidate& present, Instant now) {
  if (present == present_) return;
  Leave(std::exchange(present_, present));
  if (next_round_) Hurry(now);
}

void PathChooser::Hurry(Instant now) {
  ListPaths();
  quick_rounds_ = kQuickIntervals.size();
  next_round_ = now;
  hurried_ = round_;
}

void PathChooser::Rest() {
  next_round_.reset();
  quick_rounds_ = 0;
}

std::vector<PathChooser::Try> PathChooser::OnTimer(Instant now) {
  std::vector<Try> tries;
  if (!next_round_ || *next_round_ > now) return tries;
  CountFaster();  // of the round that ends
  ++round_;
  next_round_ = now + (quick_rounds_ > 0 ? kQuickIntervals[kQuickIntervals.size() - quick_rounds_]
                                         : kInterval);
  if (quick_rounds_ > 0) --quick_rounds_;
  for (Path& path : paths_) {
    if (path.answered + 1 == round_) path.asked = now;
    tries.push_back({round_, path.at.to});
  }
  return tries;
}

std::optional<Endpoint> PathChooser::OnAnswer(const Try& one, Duration rtt, Instant now) {
  Path* path = Find(one.to);
  if (path == nullptr || one.round > round_ || round_ - one.round >= kAliveRounds) {
    return std::nullopt;
  }
  path->answered = std::max(path->answered, one.round);
  path->rtt = path->rtt ? std::min(rtt, (*path->rtt * 3 + rtt) / 4) : rtt;
  return Choose(now);
}

std::optional<Duration> PathChooser::rtt() const {
  const Path* present = FindPresent();
  return present != nullptr ? present->rtt : std::nullopt;
}

PathChooser::Path* PathChooser::Find(const Endpoint& to) {
  const auto found = std::find_if(paths_.begin(), paths_.end(),
                                  [&](const Path& path) { return path.at.to == to; });
  return found == paths_.end() ? nullptr : &*found;
}

const PathChooser::Path* PathChooser::FindPresent() const {
  const auto found = std::find_if(paths_.begin(), paths_.end(),
                                  [&](const Path& path) { return path.at.to == present_.to; });
  return found == paths_.end() ? nullptr : &*found;
}

bool PathChooser::IsCandidate(const Endpoint& to) const {
  return std::any_of(candidates_.begin(), candidates_.end(),
                     [&](const PathCandidate& one) { return one.to == to; });
}

// Or may be: it has not been tried long enough, or is far away and had no time to answer.
bool PathChooser::IsAlive(const Path& path, Instant now) const {
  return round_ - path.answered < kAliveRounds || (path.rtt && now - path.asked < *path.rtt * 2);
}

bool PathChooser::IsBetter(const Path& path, const Path& present, bool present_lives) const {
  if (path.at.to == present.at.to) return false;
  // What it answered before the network changed says nothing.
  if (path.answered <= hurried_ || path.answered + 1 < round_) return false;
  if (is_withdrawn_ || !present_lives) return true;
  if (path.at.path_class != present.at.path_class) {
    return path.at.path_class < present.at.path_class;
  }
  return path.faster_rounds >= kFasterRounds;
}

void PathChooser::CountFaster() {
  const Path* present = FindPresent();
  if (present == nullptr || !present->rtt) return;
  const Duration bound = std::min(*present->rtt * 4 / 5, *present->rtt - kClearly);
  for (Path& path : paths_) {
    const bool faster = path.answered == round_ && path.rtt && *path.rtt < bound;
    path.faster_rounds = faster ? path.faster_rounds + 1 : 0;
  }
}

// A hard NAT's mapping is known to nobody until a packet of it arrives: only the side behind it can
// see that a way works. Where the one who decides found none, the other may leave the relay. And
// only the side whose network changed may know that a path is dead.
bool PathChooser::MayMove(const Path& present, bool present_lives) const {
  if (role_ == PathRole::kDecides || !present_lives) return true;
  return present.at.path_class == PathClass::kRelay && round_ >= kFollowerRounds;
}

std::optional<Endpoint> PathChooser::Choose(Instant now) {
  const Path* present = FindPresent();
  if (present == nullptr) return std::nullopt;
  const bool lives = IsAlive(*present, now);
  if (!MayMove(*present, lives)) return std::nullopt;
  const Path* best = nullptr;
  for (const Path& path : paths_) {
    if (!IsBetter(path, *present, lives)) continue;
    const bool better = best == nullptr || path.at.path_class < best->at.path_class ||
                        (path.at.path_class == best->at.path_class && path.rtt < best->rtt);
    if (better) best = &path;
  }
  if (best == nullptr) return std::nullopt;
  Leave(std::exchange(present_, best->at));
  return present_.to;
}

// What was measured against the former present path says nothing any more.
void PathChooser::Leave(const PathCandidate& former) {
  is_withdrawn_ = false;
  for (Path& path : paths_) path.faster_rounds = 0;
  // Nobody says that the peer is there, as at a relay: trying it would cost that one, and it would
  // only seem to be the better way.
  if (former.to == present_.to || IsCandidate(former.to)) return;
  std::erase_if(paths_, [&](const Path& path) { return path.at.to == former.to; });
}

}  // namespace omni
