// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/peer_text.h"
#include "cli/print.h"

namespace omni {
namespace {

struct PingOptions {
  std::string peer;
  uint32_t count = 4;
  double interval_s = 1;
  double wait_s = 2;
  uint32_t size = 64;
  bool until_direct = false;
};

// LIMIT: with --until-direct; two NATs take seconds to open, and then nothing comes any more.
constexpr uint32_t kDirectCount = 10;

std::chrono::nanoseconds Nanos(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

// Collects results and prints each as it comes, or all at the end as one JSON document.
class Report {
 public:
  Report(const Context& context, std::string peer) : context_(context), peer_(std::move(peer)) {}

  void Add(const api::PingResult& result) {
    ++sent_;
    direct_ = IsDirect(result);
    if (result.has_rtt()) rtts_.push_back(FromProto(result.rtt()));
    if (context_.format == OutputFormat::kJson) {
      json_ += (json_.empty() ? "" : ",") + ToJson(result);
      return;
    }
    std::string what = result.has_rtt() ? HumanRtt(result.rtt()) : "lost: " + result.lost();
    if (const std::string way = WayOf(result); !way.empty()) what += ", " + way;
    *context_.out << fmt::format("{}: sequence {}: {}\n", peer_, result.sequence(), what)
                  << std::flush;
  }
  // Whether the last echo was answered directly.
  bool is_direct() const { return direct_; }

  void Finish() {
    if (context_.format == OutputFormat::kJson) {
      *context_.out << fmt::format(
          "{{\"sent\": {}, \"received\": {}, \"results\": [{}], \"direct\": {}}}\n", sent_,
          rtts_.size(), json_, direct_);
    } else {
      PrintSummary();
    }
    if (rtts_.empty()) {
      throw CommandError(ExitCode::kFailed, fmt::format("ping {}: no answer", peer_));
    }
  }

 private:
  void PrintSummary() {
    *context_.out << fmt::format("{} sent, {} received, {:.0f}% lost", sent_, rtts_.size(),
                                 sent_ == 0 ? 0.0
                                            : 100.0 * static_cast<double>(sent_ - rtts_.size()) /
                                                  static_cast<double>(sent_));
    if (!rtts_.empty()) {
      std::sort(rtts_.begin(), rtts_.end());
      const auto at = [this](size_t percent) {
        return HumanRtt(ToProto(rtts_[(rtts_.size() - 1) * percent / 100]));
      };
      *context_.out << fmt::format("; min {}, median {}, p99 {}, max {}", at(0), at(50), at(99),
                                   at(100));
    }
    *context_.out << '\n';
  }

  const Context& context_;
  std::string peer_;
  size_t sent_ = 0;
  bool direct_ = false;
  std::vector<std::chrono::nanoseconds> rtts_;
  std::string json_;
};

// Says why, and what the controller knows of the reason.
void FailIndirect(Client& client, const PingOptions& options) {
  api::GetPeerRequest request;
  request.set_peer(options.peer);
  const auto peer = client.Call(&Stub::GetPeer, request);
  throw CommandError(ExitCode::kFailed, fmt::format("ping {}: no direct way within {} echoes: {}",
                                                    options.peer, options.count, PeerLine(peer)));
}

void Run(const Context& context, const PingOptions& options) {
  api::PingRequest request;
  request.set_peer(options.peer);
  request.set_count(options.count);
  *request.mutable_interval() = ToProto(Nanos(options.interval_s));
  *request.mutable_timeout() = ToProto(Nanos(options.wait_s));
  request.set_size(options.size);

  Client client(context);
  grpc::ClientContext call;
  call.set_deadline(client.Deadline() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(
                        Nanos(options.interval_s * options.count + options.wait_s)));
  const auto reader = client.stub().Ping(&call, request);
  Report report(context, options.peer);
  api::PingResult result;
  while (reader->Read(&result)) {
    report.Add(result);
    if (!options.until_direct || !report.is_direct()) continue;
    call.TryCancel();
    (void)reader->Finish();
    return report.Finish();
  }
  client.Check(reader->Finish());
  report.Finish();
  if (options.until_direct) FailIndirect(client, options);
}

}  // namespace

void AddPingCommand(CLI::App& app, const Context& context) {
  auto options = std::make_shared<PingOptions>();
  auto* command = app.add_subcommand(
      "ping", "Echo requests from dataplane to dataplane, through the tunnel and nothing else");
  command->add_option("peer", options->peer, "Name or node id")->required()->option_text("PEER");
  auto* count = command->add_option("--count,-c", options->count, "How many")
                    ->check(CLI::Range(1, 1'000'000))
                    ->option_text("N [4; 10 with --until-direct]");
  command->add_option("--interval,-i", options->interval_s, "Between two of them, in seconds")
      ->check(CLI::Range(0.001, 3600.0))
      ->option_text("SECONDS [1]");
  command->add_option("--wait,-W", options->wait_s, "For each answer, in seconds")
      ->check(CLI::Range(0.001, 3600.0))
      ->option_text("SECONDS [2]");
  command->add_option("--size,-s", options->size, "Bytes of the inner message")
      ->check(CLI::Range(24, 64924))
      ->option_text("BYTES [64]");
  command->add_flag("--until-direct", options->until_direct,
                    "Ends with 0 at the first answer that came by no relay, else with 1");
  command->footer(
      "Each line tells the way that packets to the peer took when the answer came.\n"
      "Examples:\n"
      "  omnictl ping robot-7 --count 100 --interval 0.01\n"
      "  omnictl ping robot-7 --until-direct");
  command->callback([&context, options, count] {
    if (options->until_direct && count->count() == 0) options->count = kDirectCount;
    Run(context, *options);
  });
}

}  // namespace omni
