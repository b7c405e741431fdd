// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <ostream>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

struct DropsOptions {
  bool all = false;
};

void Run(const Context& context, const DropsOptions& options) {
  Client client(context);
  const auto response = client.Call(&Stub::GetDrops, api::GetDropsRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, response);
  Table table({"REASON", "PACKETS", "MEANING"}, {"PACKETS"});
  bool any = false;
  for (const auto& drop : response.drops()) {
    if (drop.packets() == 0 && !options.all) continue;
    any = true;
    table.Add({drop.reason(), fmt::format("{}", drop.packets()), drop.help()});
  }
  if (any) return table.Print(*context.out);
  *context.out << "no packet was dropped\n";
}

}  // namespace

void AddDropsCommand(CLI::App& app, const Context& context) {
  auto options = std::make_shared<DropsOptions>();
  auto* command = app.add_subcommand("drops", "Packets that were dropped, by reason");
  command->add_flag("--all", options->all, "Also reasons that never occurred (JSON: always all)");
  command->footer("Examples:\n  omnictl drops\n  omnictl drops --all");
  command->callback([&context, options] { Run(context, *options); });
}

}  // namespace omni
