// SPDX-License-Identifier: Apache-2.0
// Swarm: many edges in one process, each with a UDP socket of its own, on one thread: an epoll loop
// and the timers of all. What an edge hears late because the swarm is busy counts as late: figures
// are never better than they are.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "benchmarks/edges/edge.h"

namespace omni {

class Swarm {
 public:
  struct Options {
    const ClusterKeys* cluster = nullptr;  // not owned
    Endpoint nucleus;
    std::string directory;  // for identities: empty, and better in memory than on a disk
    // An edge was told something after its registration.
    std::function<void(size_t edge, std::string_view message)> told;
  };
  // UNAVAILABLE: no sockets.
  static absl::StatusOr<std::unique_ptr<Swarm>> Make(Options options);
  ~Swarm();
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;

  // One more, which joins at Join(). Takes some ms: it makes keys.
  absl::Status Add();
  void Join(size_t edge);
  void Rename(size_t edge, std::string name);

  size_t size() const { return members_.size(); }
  const Edge& edge(size_t index) const { return *members_[index].edge; }
  // Of UDP's payload, that came to the edge.
  uint64_t bytes_to(size_t index) const { return members_[index].bytes; }

  void RunUntil(Instant end) {
    while (Now() < end) Turn(end);
  }
  // Whether the condition came true in time.
  template <typename Condition>
  bool RunUntil(Condition condition, Duration limit) {
    for (const Instant end = Now() + limit; !condition();) {
      if (Now() >= end) return false;
      Turn(end);
    }
    return true;
  }

 private:
  struct Member {
    std::unique_ptr<Edge> edge;
    int fd = -1;
    uint64_t bytes = 0;
    std::optional<Instant> due;  // mirrored in `due_`
  };

  explicit Swarm(Options options) : options_(std::move(options)) {}
  void Turn(Instant end);
  void Receive(size_t index);
  void Arm(size_t index);

  const Options options_;
  int epoll_ = -1;
  std::vector<Member> members_;
  std::set<std::pair<Instant, size_t>> due_;
};

}  // namespace omni
