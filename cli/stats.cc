// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/watch.h"

namespace omni {
namespace {

struct StatsOptions {
  bool all = false;
  bool groups = false;
  WatchOptions watch;
};

// "1234", "1234 (+56/s)".
std::string WithRate(uint64_t value, const std::optional<double>& rate) {
  return rate ? fmt::format("{} (+{:.0f}/s)", value, *rate) : fmt::format("{}", value);
}
std::string BytesWithRate(uint64_t bytes, const std::optional<double>& rate) {
  if (!rate) return HumanBytes(bytes);
  return fmt::format("{} (+{:.1f} Mbit/s)", HumanBytes(bytes), *rate * 8 / 1e6);
}

class Stats {
 public:
  Stats(const Context& context, const StatsOptions& options)
      : context_(context), options_(options), client_(context) {}

  void Show() {
    const auto stats = client_.Call(&Stub::GetStats, api::GetStatsRequest());
    if (context_.format == OutputFormat::kJson) {
      PrintJson(*context_.out, stats);
      *context_.out << std::flush;
      return;
    }
    rates_.Tick();
    if (looks_++ > 0) *context_.out << '\n';
    PrintPaths(stats);
    *context_.out << '\n';
    PrintCounters(stats);
    if (options_.groups) PrintGroups(stats);
    *context_.out << std::flush;
  }

 private:
  void PrintPaths(const api::GetStatsResponse& stats) {
    Table table({"PATH", "PACKETS SENT", "SENT", "PACKETS RECEIVED", "RECEIVED"},
                {"PACKETS SENT", "SENT", "PACKETS RECEIVED", "RECEIVED"});
    for (const auto& path : stats.paths()) {
      const auto rate = [&](const char* what, uint64_t value) {
        return rates_.Of(path.path() + what, value);
      };
      table.Add({path.path(), WithRate(path.tx_packets(), rate(" txp", path.tx_packets())),
                 BytesWithRate(path.tx_bytes(), rate(" txb", path.tx_bytes())),
                 WithRate(path.rx_packets(), rate(" rxp", path.rx_packets())),
                 BytesWithRate(path.rx_bytes(), rate(" rxb", path.rx_bytes()))});
    }
    table.Print(*context_.out);
  }

  void PrintCounters(const api::GetStatsResponse& stats) {
    Table table({"COUNTER", "VALUE", "MEANING"}, {"VALUE"});
    for (const auto& counter : stats.counters()) {
      if (counter.value() == 0 && !options_.all) continue;
      const std::string name = (counter.drop() ? "drop " : "") + counter.name();
      table.Add(
          {name, WithRate(counter.value(), rates_.Of(name, counter.value())), counter.help()});
    }
    table.Print(*context_.out);
  }

  void PrintGroups(const api::GetStatsResponse& stats) {
    *context_.out << '\n';
    Table table({"WHERE", "COUNTER", "VALUE"}, {"VALUE"});
    for (const auto& group : stats.groups()) {
      for (const auto& counter : group.counters()) {
        const std::string key = group.name() + "/" + counter.name();
        table.Add({group.name(), counter.name(),
                   WithRate(counter.value(), rates_.Of(key, counter.value()))});
      }
    }
    table.Print(*context_.out);
  }

  const Context& context_;
  const StatsOptions& options_;
  Client client_;
  Rates rates_;
  int looks_ = 0;
};

}  // namespace

void AddStatsCommand(CLI::App& app, const Context& context) {
  auto options = std::make_shared<StatsOptions>();
  auto* command = app.add_subcommand(
      "stats", "Everything that the dataplane counts: by path, and by worker and CPU");
  command->add_flag("--all", options->all, "Also what was never counted (JSON: always all)");
  command->add_flag("--groups", options->groups, "Also by worker and CPU (JSON: always)");
  AddWatchOptions(*command, options->watch);
  command->footer("Examples:\n  omnictl stats --groups\n  omnictl stats --watch --interval 2");
  command->callback([&context, options] {
    Stats stats(context, *options);
    Watch(options->watch, [&stats] { stats.Show(); });
  });
}

}  // namespace omni
