// SPDX-License-Identifier: Apache-2.0
#include "cli/app.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ostream>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/identity.h"
#include "generated/version.h"

namespace omni {
namespace {

constexpr std::array kCommands = {
    AddStatusCommand,     AddUpCommand,      AddDownCommand,     AddPeersCommand,
    AddWaitCommand,       AddPingCommand,    AddNetCheckCommand, AddNucleusCommand,
    AddSessionsCommand,   AddDropsCommand,   AddStatsCommand,    AddPathCommand,
    AddTraceCommand,      AddClusterCommand, AddReloadCommand,   AddVersionCommand,
    AddCompletionCommand,
};

constexpr char kFooter[] =
    "Examples:\n"
    "  omnictl status\n"
    "  omnictl peers list --output json\n"
    "  omnictl ping robot-7 --count 10 --interval 0.1\n"
    "\n"
    "Exit codes:\n"
    "  0  done\n"
    "  1  failed\n"
    "  2  wrong usage, or an argument that the controller refuses\n"
    "  3  the controller cannot be reached\n"
    "  4  no such peer\n"
    "  5  exists already, or is not in a state that allows this\n"
    "  6  the controller runs, but its dataplane is not connected\n"
    "  7  no answer in time";

void AddGlobalOptions(CLI::App& app, Context& context) {
  app.add_option("--socket", context.socket, "Socket of the controller")
      ->envname("OMNI_SOCKET")
      ->option_text("PATH [" + context.socket + "]");
  app.add_option_function<std::string>(
         "--output",
         [&context](const std::string& value) {
           context.format = value == "json" ? OutputFormat::kJson : OutputFormat::kTable;
         },
         "A table for people, or JSON for programs (stable)")
      ->check(CLI::IsMember({"table", "json"}))
      ->option_text("table|json [table]");
  app.add_option("--timeout", context.timeout_s, "How long to wait for the controller, in seconds")
      ->check(CLI::Range(0.001, 86400.0))
      ->option_text("SECONDS [5]");
  app.set_version_flag("--version", std::string("omnictl ") + kVersion);
}

// CLI11 asks for the missing command before it complains of a word that is none, and then says
// nothing of the word. Empty: the error is of another kind.
std::string UnknownCommand(const CLI::App& app) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().back();
  const bool is_group = !command->get_subcommands([](const CLI::App*) { return true; }).empty();
  const std::vector<std::string> unknown = app.remaining(/*recurse=*/true);
  if (!is_group || unknown.empty()) return "";
  const char* kind = unknown.front().starts_with('-') ? "option" : "command";
  return fmt::format("unknown {}: {}", kind, unknown.front());
}

}  // namespace

int RunOmnictl(std::vector<std::string> arguments, std::ostream& out, std::ostream& err) {
  Context context{.out = &out, .err = &err};
  CLI::App app("Drives and watches the OmniNervous controller of this machine.", "omnictl");
  app.footer(kFooter);
  app.fallthrough();  // global options are taken after the command, too
  app.require_subcommand(1);
  AddGlobalOptions(app, context);
  for (const auto add : kCommands) add(app, context);
  AddIdentityCommand(app, context.format);
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(std::move(arguments));
  } catch (const CommandError& error) {
    err << "omnictl: " << error.what() << '\n';
    return error.get_exit_code();
  } catch (const CLI::RuntimeError& error) {  // the command has printed its error
    return error.get_exit_code();
  } catch (const CLI::Success& done) {  // --help, --version
    return app.exit(done, out, err);
  } catch (const CLI::ParseError& error) {
    const std::string unknown = UnknownCommand(app);
    err << "omnictl: " << (unknown.empty() ? error.what() : unknown) << "\nTry: omnictl --help\n";
    return static_cast<int>(ExitCode::kUsage);
  }
  return static_cast<int>(ExitCode::kOk);
}

}  // namespace omni
