// SPDX-License-Identifier: Apache-2.0
#include "generated/version.h"

#include <fmt/format.h>

#include <ostream>
#include <string>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

struct Versions {
  std::string controller;
  std::string dataplane;
};

// The daemons' versions as far as they can be asked: a missing daemon is no reason to fail here.
Versions Ask(const Context& context) {
  try {
    Client client(context);
    const auto status = client.Call(&Stub::GetStatus, api::GetStatusRequest());
    return {status.controller().version(), status.dataplane().version()};
  } catch (const CommandError&) {
    return {};
  }
}

void Run(const Context& context) {
  const Versions versions = Ask(context);
  if (context.format == OutputFormat::kJson) {
    // Versions are of our own making: letters, digits, dots, hyphens; nothing to escape.
    *context.out << fmt::format(
        "{{\n \"omnictl\": \"{}\",\n \"controller\": \"{}\",\n \"dataplane\": \"{}\"\n}}\n",
        kVersion, versions.controller, versions.dataplane);
    return;
  }
  const auto or_unknown = [](const std::string& version) {
    return version.empty() ? std::string("not reachable") : version;
  };
  PrintFields(*context.out, {{"omnictl", kVersion},
                             {"omni-controller", or_unknown(versions.controller)},
                             {"omni-dataplane", or_unknown(versions.dataplane)}});
}

}  // namespace

void AddVersionCommand(CLI::App& app, const Context& context) {
  auto* command = app.add_subcommand("version", "Versions of omnictl and of the running daemons");
  command->footer("Example:\n  omnictl version");
  command->callback([&context] { Run(context); });
}

}  // namespace omni
