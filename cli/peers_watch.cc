// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <memory>
#include <ostream>
#include <string>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/peer_text.h"
#include "cli/print.h"

namespace omni {
namespace {

struct WatchPeersOptions {
  std::string peer;
  uint32_t count = 0;  // 0: until it is interrupted
};

std::string Line(const api::PeerChange& change) {
  const std::string& name = change.peer().name();
  if (change.kind() == api::PeerChange::KIND_REMOVED) return name + ": removed";
  const char* fresh = change.kind() == api::PeerChange::KIND_ADDED ? "added, " : "";
  return fmt::format("{}: {}{}", name, fresh, PeerLine(change.peer()));
}

void WatchPeers(const Context& context, const WatchPeersOptions& options) {
  Client client(context);
  api::WatchPeersRequest request;
  request.set_peer(options.peer);
  grpc::ClientContext call;  // no deadline: it ends when one of the two does
  const auto reader = client.stub().WatchPeers(&call, request);
  api::PeerChange change;
  for (uint32_t told = 0; reader->Read(&change);) {
    if (context.format == OutputFormat::kJson) {
      *context.out << ToJsonLine(change) << std::flush;
    } else {
      const std::time_t now = std::time(nullptr);
      *context.out << fmt::format("{:%H:%M:%S} {}\n", fmt::localtime(now), Line(change))
                   << std::flush;
    }
    if (++told == options.count) {
      call.TryCancel();
      (void)reader->Finish();
      return;
    }
  }
  const grpc::Status status = reader->Finish();
  // Nothing of it needs the dataplane: it is the controller that is not available any more.
  if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
    throw CommandError(ExitCode::kUnreachable, "peers watch: the controller ended");
  }
  client.Check(status);
}

}  // namespace

void AddPeersWatchCommand(CLI::App& peers, const Context& context) {
  auto options = std::make_shared<WatchPeersOptions>();
  auto* command = peers.add_subcommand(
      "watch", "The peers as they are, then each change of state, way or configuration");
  command->add_option("peer", options->peer, "Only this one, now or once it is known")
      ->option_text("PEER");
  command->add_option("--count,-c", options->count, "Ends after so many lines; 0: never")
      ->option_text("N [0]");
  command->footer(
      "With --output json, one JSON object a line. Goes on until it is interrupted, or the\n"
      "controller ends (exit code 3).\n"
      "Examples:\n"
      "  omnictl peers watch\n"
      "  omnictl peers watch robot-7 --output json");
  command->callback([&context, options] { WatchPeers(context, *options); });
}

}  // namespace omni
