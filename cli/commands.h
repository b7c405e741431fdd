// SPDX-License-Identifier: Apache-2.0
// The commands of omnictl: each adds itself to the tree of subcommands, with options, help and a
// callback. One .cc file per command; the table of all of them stands in app.cc. `context` is
// filled in before a callback runs and outlives it.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/context.h"

namespace omni {

void AddStatusCommand(CLI::App& app, const Context& context);
void AddPeersCommand(CLI::App& app, const Context& context);
void AddPeersWatchCommand(CLI::App& peers, const Context& context);
void AddSessionsCommand(CLI::App& app, const Context& context);
void AddDropsCommand(CLI::App& app, const Context& context);
void AddStatsCommand(CLI::App& app, const Context& context);
void AddPathCommand(CLI::App& app, const Context& context);
void AddTraceCommand(CLI::App& app, const Context& context);
void AddPingCommand(CLI::App& app, const Context& context);
void AddWaitCommand(CLI::App& app, const Context& context);
void AddUpCommand(CLI::App& app, const Context& context);
void AddDownCommand(CLI::App& app, const Context& context);
void AddNetCheckCommand(CLI::App& app, const Context& context);
void AddNucleusCommand(CLI::App& app, const Context& context);
void AddClusterCommand(CLI::App& app, const Context& context);
// Of `omnictl cluster`.
void AddMemberCommands(CLI::App& cluster, const Context& context);
void AddReloadCommand(CLI::App& app, const Context& context);
void AddVersionCommand(CLI::App& app, const Context& context);
void AddCompletionCommand(CLI::App& app, const Context& context);

}  // namespace omni
