// SPDX-License-Identifier: Apache-2.0
// Waiting, for scripts: looks again and again until something holds or the time is over. The
// controller may not even be there yet.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <thread>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/peer_text.h"
#include "cli/print.h"

namespace omni {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// LIMIT: five looks a second cost the controller nothing, and no script is faster.
constexpr std::chrono::milliseconds kBetweenLooks{200};
// LIMIT: an echo that is not answered after so long is lost on every path of this earth.
constexpr double kEchoSeconds = 1;
// LIMIT: of one look: after two lost ones the controller begins a new session.
constexpr uint32_t kEchoes = 4;

struct WaitOptions {
  double timeout_s = 60;
  std::string peer;
  bool direct = false;
};

// What is still missing; "" when it holds, and has been printed. `remaining_s` is above 0.
using Look = std::function<std::string(Client& client, double remaining_s)>;

bool IsWorthAnotherTry(const CommandError& error) {
  const auto code = static_cast<ExitCode>(error.get_exit_code());
  return code == ExitCode::kUnreachable || code == ExitCode::kTimeout ||
         code == ExitCode::kNoDataplane || code == ExitCode::kNotFound ||
         code == ExitCode::kConflict;
}

void WaitFor(const Context& context, const std::string& what, double timeout_s, const Look& look) {
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(Seconds(timeout_s));
  while (true) {
    const double remaining_s = std::max(0.05, Seconds(end - Clock::now()).count());
    Context now = context;
    now.timeout_s = std::min(context.timeout_s, remaining_s);
    std::string missing;
    ExitCode code = ExitCode::kTimeout;
    try {
      Client client(now);
      missing = look(client, remaining_s);
      if (missing.empty()) return;
    } catch (const CommandError& error) {
      if (!IsWorthAnotherTry(error)) throw;
      missing = error.what();
      const auto why = static_cast<ExitCode>(error.get_exit_code());
      if (why == ExitCode::kUnreachable) code = why;
    }
    if (Clock::now() + kBetweenLooks >= end) {
      throw CommandError(code,
                         fmt::format("wait: {}: not within {} s: {}", what, timeout_s, missing));
    }
    std::this_thread::sleep_for(kBetweenLooks);
  }
}

std::string LookOnline(const Context& context, Client& client) {
  const auto status = client.Call(&Stub::GetStatus, api::GetStatusRequest());
  if (status.state() == api::NODE_STATE_DOWN) return "the node is down: omnictl up";
  if (!status.dataplane().connected()) {
    return "the dataplane is not connected: " + status.dataplane().error();
  }
  const auto nucleus = client.Call(&Stub::GetNucleus, api::GetNucleusRequest());
  const std::string why = nucleus.last_error().empty() ? "" : ": " + nucleus.last_error();
  if (nucleus.configured() && nucleus.state() != api::NUCLEUS_STATE_REGISTERED) {
    return "not registered with the Nucleus" + why;
  }
  if (status.addresses().empty()) return "the Nucleus has given no address" + why;
  if (context.format == OutputFormat::kJson) {
    PrintJson(*context.out, status);
  } else {
    *context.out << "online\n";
  }
  return "";
}

bool IsEnough(const WaitOptions& options, const api::PingResult& result) {
  return result.has_rtt() && (!options.direct || IsDirect(result));
}

// A few echoes: tunnels are made when there is traffic, and they are some.
std::string LookPeer(const Context& context, const WaitOptions& options, Client& client,
                     double remaining_s) {
  const auto nanos = [](double seconds) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Seconds(seconds));
  };
  api::PingRequest request;
  request.set_peer(options.peer);
  request.set_count(remaining_s < kEchoes * kEchoSeconds ? 1 : kEchoes);
  *request.mutable_interval() = ToProto(kBetweenLooks);
  *request.mutable_timeout() = ToProto(nanos(std::min(kEchoSeconds, remaining_s)));
  grpc::ClientContext call;
  call.set_deadline(client.Deadline() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(
                        nanos(kEchoes * (kEchoSeconds + 1))));
  const auto reader = client.stub().Ping(&call, request);
  api::PingResult last;
  while (!IsEnough(options, last) && reader->Read(&last)) {
  }
  if (IsEnough(options, last)) {
    call.TryCancel();
    (void)reader->Finish();
  } else {
    client.Check(reader->Finish());
  }
  if (!last.has_rtt()) return last.lost();
  if (!IsEnough(options, last)) return "it is reached, but by " + WayOf(last);
  if (context.format == OutputFormat::kJson) {
    PrintJson(*context.out, last);
  } else {
    const std::string way = WayOf(last);
    *context.out << fmt::format("{}: {}{}\n", options.peer, HumanRtt(last.rtt()),
                                way.empty() ? "" : ", " + way);
  }
  return "";
}

constexpr char kExitCodes[] =
    "Exit codes: 0 it holds, 7 the time is over (the message says what is missing), 3 the\n"
    "controller cannot be reached, to the end.\n";

void AddTimeout(CLI::App& command, WaitOptions& options) {
  command.add_option("--timeout", options.timeout_s, "How long at most, in seconds")
      ->check(CLI::Range(0.001, 1e9))
      ->option_text("SECONDS [60]");
}

}  // namespace

void AddWaitCommand(CLI::App& app, const Context& context) {
  auto* wait = app.add_subcommand("wait", "Waits until something holds, for scripts");
  wait->footer("Examples:\n  omnictl wait online\n  omnictl wait peer robot-7 --direct");
  wait->require_subcommand(1);

  auto options = std::make_shared<WaitOptions>();
  auto* online = wait->add_subcommand(
      "online", "Until this node is up, its dataplane runs, and it is registered with its Nucleus");
  AddTimeout(*online, *options);
  online->footer(std::string("Without a Nucleus in the configuration the dataplane is enough.\n") +
                 kExitCodes + "Example:\n  omnictl wait online --timeout 30");
  online->callback([&context, options] {
    WaitFor(context, "online", options->timeout_s,
            [&](Client& client, double) { return LookOnline(context, client); });
  });

  auto* peer = wait->add_subcommand("peer", "Until a peer answers, known by now or not");
  peer->add_option("peer", options->peer, "Name or node id")->required()->option_text("PEER");
  peer->add_flag("--direct", options->direct, "Until it answers by no relay");
  AddTimeout(*peer, *options);
  peer->footer(std::string("Sends echo requests, which make a tunnel where there is none.\n") +
               kExitCodes + "Example:\n  omnictl wait peer robot-7 --direct --timeout 30");
  peer->callback([&context, options] {
    WaitFor(context, "peer " + options->peer, options->timeout_s,
            [&](Client& client, double remaining_s) {
              return LookPeer(context, *options, client, remaining_s);
            });
  });
}

}  // namespace omni
