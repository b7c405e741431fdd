// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <ostream>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {

void AddReloadCommand(CLI::App& app, const Context& context) {
  auto* command =
      app.add_subcommand("reload", "Reads the configuration again and applies the difference");
  command->footer("Example:\n  omnictl reload");
  command->callback([&context] {
    Client client(context);
    const auto response = client.Call(&Stub::Reload, api::ReloadRequest());
    if (context.format == OutputFormat::kJson) return PrintJson(*context.out, response);
    *context.out << fmt::format("peers: {} added, {} removed, {} changed\n", response.peers_added(),
                                response.peers_removed(), response.peers_changed());
  });
}

}  // namespace omni
