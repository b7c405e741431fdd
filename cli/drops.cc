// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <ostream>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"
#include "cli/watch.h"

namespace omni {
namespace {

struct DropsOptions {
  bool all = false;
  WatchOptions watch;
};

void Show(const Context& context, const DropsOptions& options, Client& client, Rates& rates) {
  const auto response = client.Call(&Stub::GetDrops, api::GetDropsRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, response);
  rates.Tick();
  Table table({"REASON", "PACKETS", "MEANING"}, {"PACKETS"});
  bool any = false;
  for (const auto& drop : response.drops()) {
    const auto rate = rates.Of(drop.reason(), drop.packets());
    if (drop.packets() == 0 && !options.all) continue;
    any = true;
    table.Add({drop.reason(),
               rate ? fmt::format("{} (+{:.0f}/s)", drop.packets(), *rate)
                    : fmt::format("{}", drop.packets()),
               drop.help()});
  }
  if (any) return table.Print(*context.out);
  *context.out << "no packet was dropped\n";
}

}  // namespace

void AddDropsCommand(CLI::App& app, const Context& context) {
  auto options = std::make_shared<DropsOptions>();
  auto* command = app.add_subcommand("drops", "Packets that were dropped, by reason");
  command->add_flag("--all", options->all, "Also reasons that never occurred (JSON: always all)");
  AddWatchOptions(*command, options->watch);
  command->footer("Examples:\n  omnictl drops\n  omnictl drops --all\n  omnictl drops --watch");
  command->callback([&context, options] {
    Client client(context);
    Rates rates;
    Watch(options->watch, [&] {
      Show(context, *options, client, rates);
      *context.out << std::flush;
    });
  });
}

}  // namespace omni
