// SPDX-License-Identifier: Apache-2.0
// omni-bench-swarm NUCLEUS: registers a swarm of edges at a Nucleus and measures what that costs
// it; the load of benchmarks/swarm. Two sizes, one after the other: at each, what is resident in
// the Nucleus (and in whoever else is to be watched), and what one changed record costs; between
// them edges join at a steady rate, and some that were there first tell when they hear of each.
// Prints one JSON object.
#include <fmt/core.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "benchmarks/edges/process.h"
#include "benchmarks/edges/swarm.h"
#include "common/file.h"
#include "common/status.h"
#include "signal/record/record.h"

namespace omni {
namespace {

namespace pb = signal::v1;

struct Arguments {
  std::string nucleus;
  std::string secret_file;
  std::string directory = "/dev/shm";
  pid_t nucleus_pid = 0;
  pid_t edge_pid = 0;  // 0: none
  size_t small = 100;
  size_t nodes = 2000;
  double rate = 50;
  size_t changes = 20;
};

// LIMIT: edges that tell when they hear of others, among those that were there first.
constexpr size_t kObservers = 10;
// LIMIT: what takes longer than this has failed.
constexpr Duration kPatience = 60s;
// Nothing is on its way any more.
constexpr Duration kQuiet = 3s;
// Acknowledgements of a change.
constexpr Duration kPause = 100ms;

double Ms(Duration time) { return std::chrono::duration<double, std::milli>(time).count(); }

// Value at the quantile, in ms; 0 without values.
double At(std::vector<Duration>& times, double quantile) {
  if (times.empty()) return 0;
  std::ranges::sort(times);
  return Ms(times[static_cast<size_t>(quantile * static_cast<double>(times.size() - 1))]);
}

// What one changed record costs, on average; and what is resident.
struct Cost {
  size_t nodes = 0;
  double first_ms = 0, all_ms = 0;  // until one, and until the last of the others has heard of it
  double cpu_us = 0;                // of the Nucleus
  double edge_bytes = 0;            // to one edge
  uint64_t nucleus_rss = 0;
  uint64_t edge_rss = 0;
};

class Bench {
 public:
  Bench(Arguments arguments, ClusterKeys cluster)
      : arguments_(std::move(arguments)), cluster_(std::move(cluster)) {}

  absl::Status Run() {
    directory_ = arguments_.directory + "/omni-swarm-XXXXXX";
    if (mkdtemp(directory_.data()) == nullptr) return ErrnoStatus("make " + directory_);
    absl::Status status = Measure();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
    return status;
  }

 private:
  absl::Status Measure() {
    const auto to = Endpoint::Parse(arguments_.nucleus);
    if (!to) return absl::InvalidArgumentError(arguments_.nucleus + ": no address");
    ASSIGN_OR_RETURN(swarm_, Swarm::Make({.cluster = &cluster_,
                                          .nucleus = *to,
                                          .directory = directory_,
                                          .told = [this](size_t edge, std::string_view message) {
                                            OnTold(edge, message);
                                          }}));
    while (swarm_->size() < arguments_.nodes) RETURN_IF_ERROR(swarm_->Add());
    RETURN_IF_ERROR(JoinUpTo(arguments_.small));
    ASSIGN_OR_RETURN(const Cost small, Look());
    visible_.clear();
    const Instant begin = Now();
    RETURN_IF_ERROR(JoinUpTo(arguments_.nodes));
    const double joins = static_cast<double>(arguments_.nodes - arguments_.small);
    const double rate = joins / (Ms(last_join_ - begin) / 1000);
    std::vector<Duration> registered;
    for (size_t i = arguments_.small; i < swarm_->size(); ++i) {
      registered.push_back(*swarm_->edge(i).registered() - swarm_->edge(i).joined());
    }
    ASSIGN_OR_RETURN(const Cost large, Look());
    Print(rate, registered, small, large);
    return absl::OkStatus();
  }

  // Joins one edge after the other; done when the observers have heard of all.
  absl::Status JoinUpTo(size_t count) {
    const Instant begin = Now();
    const size_t first = joined_;
    while (joined_ < count) {
      const auto gap = static_cast<double>(joined_ - first) / arguments_.rate;
      swarm_->RunUntil(begin + Duration(static_cast<int64_t>(gap * 1e9)));
      join_times_[swarm_->edge(joined_).name()] = last_join_ = Now();
      swarm_->Join(joined_++);
    }
    const size_t watched = first == 0 ? 0 : (count - first) * kObservers;
    const bool done = swarm_->RunUntil(
        [&] { return registered() == count && visible_.size() >= watched; }, kPatience);
    if (done) return absl::OkStatus();
    return absl::DeadlineExceededError(
        fmt::format("{} of {} edges are registered, observers heard {} times of {}{}", registered(),
                    count, visible_.size(), watched, FirstError()));
  }
  size_t registered() const {
    size_t count = 0;
    for (size_t i = 0; i < joined_; ++i) count += swarm_->edge(i).is_registered() ? 1 : 0;
    return count;
  }
  std::string FirstError() const {
    for (size_t i = 0; i < joined_; ++i) {
      if (!swarm_->edge(i).error().empty()) return ": " + swarm_->edge(i).error();
    }
    return "";
  }

  void OnTold(size_t edge, std::string_view message) {
    if (!wanted_.empty()) {
      if (message.find(wanted_) == std::string_view::npos || heard_[edge]) return;
      heard_[edge] = true;
      if (hearing_++ == 0) first_heard_ = Now();
      return;
    }
    if (edge >= kObservers) return;
    pb::NucleusMessage parsed;
    if (!parsed.ParseFromArray(message.data(), static_cast<int>(message.size()))) return;
    for (const pb::SignedRecord& signed_record : parsed.delta().records()) {
      pb::NodeRecord record;
      if (!record.ParseFromString(signed_record.record())) continue;
      const auto found = join_times_.find(record.name());
      if (found != join_times_.end()) visible_.push_back(Now() - found->second);
    }
  }

  absl::StatusOr<Cost> Look() {
    swarm_->RunUntil(Now() + kQuiet);
    Cost cost{.nodes = joined_};
    ASSIGN_OR_RETURN(cost.nucleus_rss, ResidentBytes(arguments_.nucleus_pid));
    if (arguments_.edge_pid != 0) {
      ASSIGN_OR_RETURN(cost.edge_rss, ResidentBytes(arguments_.edge_pid));
    }
    RETURN_IF_ERROR(Change(cost));
    return cost;
  }

  // Changes records of different edges, one after the other, and waits until all others have heard.
  absl::Status Change(Cost& cost) {
    ASSIGN_OR_RETURN(const Duration idle, CpuIn(kQuiet));
    const size_t reader = joined_ - 1;
    const uint64_t bytes = swarm_->bytes_to(reader);
    ASSIGN_OR_RETURN(const Duration cpu, CpuTime(arguments_.nucleus_pid));
    const Instant begin = Now();
    Duration first{};
    Duration all{};
    for (size_t i = 0; i < arguments_.changes; ++i) {
      wanted_ = fmt::format("renamed-{}-{}", joined_, i);
      heard_.assign(joined_, false);
      hearing_ = 0;
      const Instant now = Now();
      swarm_->Rename(i, wanted_);
      if (!swarm_->RunUntil([&] { return hearing_ == joined_ - 1; }, kPatience)) {
        return absl::DeadlineExceededError(
            fmt::format("a change reached {} of {} edges", hearing_, joined_ - 1));
      }
      first += first_heard_ - now;
      all += Now() - now;
      swarm_->RunUntil(Now() + kPause);
    }
    wanted_.clear();
    const auto count = static_cast<double>(arguments_.changes);
    const double elapsed = Ms(Now() - begin);
    ASSIGN_OR_RETURN(const Duration cpu_after, CpuTime(arguments_.nucleus_pid));
    cost.first_ms = Ms(first) / count;
    cost.all_ms = Ms(all) / count;
    cost.cpu_us = 1000 * (Ms(cpu_after - cpu) - Ms(idle) / Ms(kQuiet) * elapsed) / count;
    cost.edge_bytes = static_cast<double>(swarm_->bytes_to(reader) - bytes) / count;
    return absl::OkStatus();
  }
  absl::StatusOr<Duration> CpuIn(Duration time) {
    ASSIGN_OR_RETURN(const Duration before, CpuTime(arguments_.nucleus_pid));
    swarm_->RunUntil(Now() + time);
    ASSIGN_OR_RETURN(const Duration after, CpuTime(arguments_.nucleus_pid));
    return after - before;
  }

  static std::string Json(const Cost& cost) {
    return fmt::format(
        "{{\"nodes\": {}, \"change_first_ms\": {:.3f}, \"change_all_ms\": {:.3f}, "
        "\"change_cpu_us\": {:.1f}, \"change_edge_bytes\": {:.0f}, \"nucleus_rss\": {}, "
        "\"edge_rss\": {}}}",
        cost.nodes, cost.first_ms, cost.all_ms, cost.cpu_us, cost.edge_bytes, cost.nucleus_rss,
        cost.edge_rss);
  }
  void Print(double rate, std::vector<Duration>& registered, const Cost& small, const Cost& large) {
    fmt::print(
        "{{\"join_rate\": {:.1f}, \"register_p50_ms\": {:.2f}, \"register_p99_ms\": {:.2f}, "
        "\"visible_p50_ms\": {:.2f}, \"visible_p99_ms\": {:.2f}, \"visible_max_ms\": {:.2f}, "
        "\"visible_samples\": {}, \"sizes\": [{}, {}]}}\n",
        rate, At(registered, 0.5), At(registered, 0.99), At(visible_, 0.5), At(visible_, 0.99),
        At(visible_, 1), visible_.size(), Json(small), Json(large));
  }

  const Arguments arguments_;
  const ClusterKeys cluster_;
  std::string directory_;
  std::unique_ptr<Swarm> swarm_;
  size_t joined_ = 0;
  Instant last_join_;
  std::map<std::string, Instant, std::less<>> join_times_;
  std::vector<Duration> visible_;  // from the first datagram of one to an observer that hears of it
  std::string wanted_;             // a name that is waited for; empty: none
  std::vector<bool> heard_;
  size_t hearing_ = 0;
  Instant first_heard_;
};

absl::Status Run(const Arguments& arguments) {
  if (arguments.small <= kObservers || arguments.nodes <= arguments.small ||
      arguments.changes > arguments.small) {
    return absl::InvalidArgumentError(fmt::format(
        "more than {} edges first, more than those then, and no more changes than edges",
        kObservers));
  }
  const rlimit files{.rlim_cur = arguments.nodes + 100, .rlim_max = arguments.nodes + 100};
  rlimit have{};
  if (getrlimit(RLIMIT_NOFILE, &have) == 0 && have.rlim_cur < files.rlim_cur &&
      setrlimit(RLIMIT_NOFILE, &files) != 0) {
    return ErrnoStatus("so many sockets");
  }
  ASSIGN_OR_RETURN(std::string secret,
                   ReadFile(arguments.secret_file, 4096, FileAccess::kOwnerOnly));
  while (!secret.empty() && secret.back() == '\n') secret.pop_back();
  ASSIGN_OR_RETURN(ClusterKeys cluster, ClusterKeys::Derive(secret));
  return Bench(arguments, std::move(cluster)).Run();
}

int ParseAndRun(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("A swarm of edges at a Nucleus; the load of benchmarks/swarm.", "omni-bench-swarm");
  app.add_option("nucleus", arguments.nucleus, "Address and port")->required();
  app.add_option("--secret-file", arguments.secret_file, "The cluster's")->required();
  app.add_option("--nucleus-pid", arguments.nucleus_pid, "The process that is measured")
      ->required();
  app.add_option("--edge-pid", arguments.edge_pid, "A controller that is measured beside it");
  app.add_option("--small", arguments.small, "Edges at first")->capture_default_str();
  app.add_option("--nodes", arguments.nodes, "Edges in the end")->capture_default_str();
  app.add_option("--rate", arguments.rate, "Joins a second")->check(CLI::Range(0.1, 1000.0));
  app.add_option("--changes", arguments.changes, "Records that change at each size");
  app.add_option("--directory", arguments.directory, "Where identities are made")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status =
      sodium_init() < 0 ? absl::InternalError("libsodium does not start") : Run(arguments);
  if (status.ok()) return EXIT_SUCCESS;
  fmt::print(stderr, "omni-bench-swarm: {}\n", Message(status));
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace omni

int main(int argc, char** argv) {
  try {
    return omni::ParseAndRun(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "omni-bench-swarm: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
