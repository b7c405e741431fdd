// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

std::string Threshold(const api::PathSettings& settings) {
  return settings.has_in_kernel_threshold() ? fmt::format("{}", settings.in_kernel_threshold())
                                            : "";
}

void Print(const Context& context, const api::Paths& paths) {
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, paths);
  std::ostream& out = *context.out;
  if (paths.path().empty()) {
    out << "The dataplane is not connected.\n\n";
  } else {
    const std::string why = paths.path_reason().empty() ? "" : " (" + paths.path_reason() + ")";
    PrintFields(out, {{"Session data goes by", paths.path() + why}});
    out << '\n';
  }
  Table settings({"SETTING", "IN FORCE", "BY API", "BY FILE"});
  const auto row = [&](const char* name, const auto& value) {
    settings.Add({name, value(paths.in_force()), value(paths.api()), value(paths.config())});
  };
  row("path", [](const api::PathSettings& s) { return s.path(); });
  row("xdp", [](const api::PathSettings& s) { return s.xdp(); });
  row("in-kernel", [](const api::PathSettings& s) { return s.in_kernel(); });
  row("in-kernel-threshold", Threshold);
  row("polling", [](const api::PathSettings& s) { return s.polling(); });
  settings.Print(out);
  if (paths.features().empty()) return;
  out << '\n';
  std::vector<std::pair<std::string, std::string>> features;
  for (const auto& feature : paths.features()) {
    features.emplace_back(
        feature.name(), fmt::format("{} ({})", feature.active() ? "on" : "off", feature.reason()));
  }
  PrintFields(out, features);
}

struct SetOptions {
  std::string path, xdp, in_kernel, polling;
  uint32_t threshold = 0;
  CLI::Option* has_threshold = nullptr;
};

void Change(const Context& context, const api::SetPathsRequest& request) {
  Client client(context);
  Print(context, client.Call(&Stub::SetPaths, request));
  if (context.format == OutputFormat::kJson) return;
  *context.out << "\nInterfaces follow within a second: omnictl path show\n";
}

void Set(const Context& context, const SetOptions& options) {
  api::SetPathsRequest request;
  api::PathSettings& say = *request.mutable_say();
  say.set_path(options.path);
  say.set_xdp(options.xdp);
  say.set_in_kernel(options.in_kernel);
  say.set_polling(options.polling);
  if (options.has_threshold->count() > 0) say.set_in_kernel_threshold(options.threshold);
  if (say.ByteSizeLong() == 0) {
    throw CommandError(ExitCode::kUsage,
                       "path set: say what: --path, --xdp, --in-kernel, "
                       "--in-kernel-threshold or --polling");
  }
  Change(context, request);
}

void AddSet(CLI::App& path, const Context& context) {
  auto options = std::make_shared<SetOptions>();
  auto* set =
      path.add_subcommand("set", "Changes the ways that packets take, at once and lastingly");
  set->add_option("--path", options->path,
                  "auto, socket or afxdp, for all interfaces or by name: how session data travels")
      ->option_text("PATH[,INTERFACE=PATH]...");
  set->add_option("--xdp", options->xdp,
                  "auto, off, native or generic: where the program that sorts and protects stands")
      ->option_text("XDP[,INTERFACE=XDP]...");
  set->add_option("--in-kernel", options->in_kernel,
                  "Small packets are sealed and opened by the kernel")
      ->option_text("auto|on|off");
  options->has_threshold =
      set->add_option("--in-kernel-threshold", options->threshold, "Largest of them, in bytes")
          ->option_text("BYTES");
  set->add_option("--polling", options->polling,
                  "Workers sleep while nothing comes, or burn a core each for a lower latency")
      ->option_text("sleep|busy");
  set->footer(
      "No session ends by it. What is set holds over restarts, before the configuration file and\n"
      "the command line of omni-dataplane, until it is set anew or `path reset`.\n"
      "Examples:\n"
      "  omnictl path set --path afxdp,wlan0=socket\n"
      "  omnictl path set --in-kernel off");
  set->callback([&context, options] { Set(context, *options); });
}

}  // namespace

void AddPathCommand(CLI::App& app, const Context& context) {
  auto* path = app.add_subcommand("path", "Which ways packets take, and why; and to change them");
  path->require_subcommand(1);
  path->footer("Example:\n  omnictl path show");
  auto* show = path->add_subcommand("show", "What is in force, who said so, and what came of it");
  show->footer("Example:\n  omnictl path show --output json");
  show->callback([&context] {
    Client client(context);
    Print(context, client.Call(&Stub::GetPaths, api::GetPathsRequest()));
  });
  AddSet(*path, context);
  auto* reset = path->add_subcommand("reset", "Forgets what `path set` said");
  reset->footer("Example:\n  omnictl path reset");
  reset->callback([&context] {
    api::SetPathsRequest request;
    request.set_reset(true);
    Change(context, request);
  });
}

}  // namespace omni
