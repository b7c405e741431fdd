// SPDX-License-Identifier: Apache-2.0
#include <ostream>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

void SetState(const Context& context, api::NodeState state) {
  Client client(context);
  api::SetNodeStateRequest request;
  request.set_state(state);
  const auto response = client.Call(&Stub::SetNodeState, request);
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, response);
  *context.out << (state == api::NODE_STATE_UP ? "up\n" : "down\n");
}

}  // namespace

void AddUpCommand(CLI::App& app, const Context& context) {
  auto* command = app.add_subcommand("up", "Takes the node up again after `down`");
  command->footer("Example:\n  omnictl up && omnictl wait online");
  command->callback([&context] { SetState(context, api::NODE_STATE_UP); });
}

void AddDownCommand(CLI::App& app, const Context& context) {
  auto* command = app.add_subcommand(
      "down", "Takes the node down: no session, no traffic, no answer to anybody");
  command->footer(
      "Both daemons go on, and the interface stays, down and without addresses. The node leaves "
      "its\n"
      "Nucleus. Peers and configuration are kept. It stays down over restarts, until `omnictl "
      "up`.\n"
      "Example:\n"
      "  omnictl down");
  command->callback([&context] { SetState(context, api::NODE_STATE_DOWN); });
}

}  // namespace omni
