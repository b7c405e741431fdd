// SPDX-License-Identifier: Apache-2.0
// Watch: a command that shows the same again and again, with rates. Used by one command at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include <CLI/CLI.hpp>

namespace omni {

struct WatchOptions {
  bool watch = false;
  double interval_s = 1;
  uint32_t count = 0;  // 0: until it is interrupted
};

inline void AddWatchOptions(CLI::App& command, WatchOptions& options) {
  auto* watch = command.add_flag("--watch,-w", options.watch, "Again and again, with rates");
  command.add_option("--interval,-i", options.interval_s, "Between two looks, in seconds")
      ->check(CLI::Range(0.01, 3600.0))
      ->needs(watch)
      ->option_text("SECONDS [1]");
  command.add_option("--count,-c", options.count, "Ends after so many; 0: never")
      ->needs(watch)
      ->option_text("N [0]");
}

// Calls `show` once, or as often as the options say.
template <typename Show>
void Watch(const WatchOptions& options, Show show) {
  for (uint32_t i = 0;; ++i) {
    show();
    if (!options.watch || (options.count > 0 && i + 1 >= options.count)) return;
    std::this_thread::sleep_for(std::chrono::duration<double>(options.interval_s));
  }
}

// Numbers that only grow, and how fast they do.
class Rates {
 public:
  // A look begins.
  void Tick() {
    const auto now = std::chrono::steady_clock::now();
    if (last_) elapsed_s_ = std::chrono::duration<double>(now - *last_).count();
    last_ = now;
  }
  // Per second since the last look; nothing at the first, and after the dataplane has restarted.
  std::optional<double> Of(const std::string& name, uint64_t value) {
    const auto [entry, fresh] = values_.try_emplace(name, value);
    const uint64_t before = entry->second;
    entry->second = value;
    if (fresh || elapsed_s_ <= 0 || value < before) return std::nullopt;
    return static_cast<double>(value - before) / elapsed_s_;
  }

 private:
  std::optional<std::chrono::steady_clock::time_point> last_;
  double elapsed_s_ = 0;
  std::map<std::string, uint64_t> values_;
};

}  // namespace omni
