// SPDX-License-Identifier: Apache-2.0
// PathChooser: the ways to one peer with whom there is a session: tries all of them in rounds, and
// says when another one than the present is better: of a better class, clearly faster, or alive
// where the present one is not. Both sides of a pair try, so that NATs on both sides open; only one
// of them, the same for both, moves: the other follows its packets, and no more than leaves a
// relay, or a dead path. Pure: time and answers in, tries and a move out. Owned by Paths.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"

namespace omni {

// The better, the smaller.
enum class PathClass : uint8_t { kLan, kV6, kV4, kRelay };
std::string_view Name(PathClass path_class);  // "lan", "direct v6", "direct v4", "relay"

enum class PathRole : uint8_t { kDecides, kFollows };

struct PathCandidate {
  Endpoint to;
  PathClass path_class = PathClass::kV4;
  friend bool operator==(const PathCandidate&, const PathCandidate&) = default;
};

class PathChooser {
 public:
  // A path is alive when it answered in this round or one of the two before: for so long answers
  // count.
  static constexpr uint32_t kAliveRounds = 3;

  // Comes back in OnAnswer().
  struct Try {
    uint32_t round = 0;
    Endpoint to;
  };

  explicit PathChooser(PathRole role) : role_(role) {}

  // LIMIT: as many as a node record holds are tried, and the present path.
  void SetCandidates(const std::vector<PathCandidate>& candidates, Instant now);
  // Where packets go now.
  void SetPresent(const PathCandidate& present, Instant now);
  // A session has come to be, or the network is another: rounds follow each other quickly for a
  // while.
  void Hurry(Instant now);
  // Nothing is tried any more until Hurry().
  void Rest();

  // What is to be tried now.
  std::vector<Try> OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const { return next_round_; }
  // The path to take from now on, if it is another.
  std::optional<Endpoint> OnAnswer(const Try& one, Duration rtt, Instant now);

  const Endpoint& present() const { return present_.to; }
  // Of the present path; unset: not measured.
  std::optional<Duration> rtt() const;

 private:
  struct Path {
    PathCandidate at;
    std::optional<Duration> rtt;
    uint32_t answered = 0;  // the last round that it did; before that, the one it was added in
    Instant asked{};        // first, since then
    int faster_rounds = 0;  // in a row, clearly faster than the present one
  };

  void ListPaths();
  Path* Find(const Endpoint& to);
  const Path* FindPresent() const;
  bool IsCandidate(const Endpoint& to) const;
  bool IsAlive(const Path& path, Instant now) const;
  bool IsBetter(const Path& path, const Path& present, bool present_lives) const;
  void CountFaster();
  bool MayMove(const Path& present, bool present_lives) const;
  std::optional<Endpoint> Choose(Instant now);
  void Leave(const PathCandidate& former);

  const PathRole role_;
  std::vector<PathCandidate> candidates_;
  PathCandidate present_;
  bool is_withdrawn_ = false;  // the present path was a candidate, and is none any more
  std::vector<Path> paths_;    // the present one, and the candidates; none before the first Hurry()
  uint32_t round_ = 0;
  uint32_t hurried_ = 0;  // the last round before what was known is to be proven anew
  int quick_rounds_ = 0;  // still to come
  std::optional<Instant> next_round_;
};

}  // namespace omni
