// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/options.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "common/status.h"
#include "generated/version.h"

namespace omni {
namespace {

std::string OffloadList() {
  std::string out;
  for (const std::string_view name : kOffloadNames) {
    out += (out.empty() ? "" : ", ") + std::string(name);
  }
  std::ranges::replace(out, '_', '-');
  return out;
}

// Empty, or what is wrong.
std::string CheckOffload(const std::string& name) {
  if (OffloadByName(name)) return "";
  return name + " is none of " + OffloadList();
}

// An option whose value is text that `parse` understands.
template <typename T>
CLI::Option* AddText(CLI::App& app, const char* name, T& into,
                     absl::StatusOr<T> (*parse)(std::string_view), const char* type,
                     const std::string& help) {
  const auto take = [&into, parse, name](const std::string& text) {
    const auto parsed = parse(text);
    if (!parsed.ok()) throw CLI::ValidationError(name, std::string(Message(parsed.status())));
    into = *parsed;
  };
  return app.add_option_function<std::string>(name, take, help)->type_name(type)->join(',');
}

// What a controller may say otherwise while the dataplane runs.
void AddPathOptions(CLI::App& app, PathSettings& paths) {
  AddText(app, "--path", paths.path, ParsePathChoices, "PATH[,INTERFACE=PATH]... [auto]",
          "How session data reaches and leaves this program: auto, socket or afxdp; auto: AF_XDP "
          "where the driver binds it without copying, afxdp: with a copy, too, else the socket");
  AddText(app, "--xdp", paths.xdp, ParseXdpChoices, "XDP[,INTERFACE=XDP]... [auto]",
          "Where floods end and session data is sorted before the kernel's network stack: auto, "
          "off, native or generic; auto: in drivers that lose nothing by it, and for --path afxdp; "
          "off: it is not loaded, and cannot be had without a restart");
  AddText(app, "--in-kernel", paths.in_kernel, ParseInKernel, "auto|on|off [auto]",
          "Open and seal small packets inside the kernel; auto: where it can be, on: fail where "
          "not, off: it is not loaded, and cannot be had without a restart");
  app.add_option("--in-kernel-threshold", paths.in_kernel_threshold,
                 "Largest packet that the kernel seals, in bytes")
      ->check(CLI::Range(0U, kMaxInKernelThreshold))
      ->capture_default_str();
  AddText(
      app, "--polling", paths.polling, ParsePolling, "sleep|busy [sleep]",
      "Whether workers sleep while there is nothing to do; busy: they never do, and burn a core "
      "each for a lower latency");
}

}  // namespace

ParsedOptions ParseOptions(int argc, char** argv) {
  ParsedOptions out;
  Options& o = out.options;
  std::string aead = "auto";
  std::string in_kernel_hook = "auto";
  std::vector<std::string> disabled;
  CLI::App app{
      "omni-dataplane: moves the packets of the OmniNervous network.\n"
      "Start it as root or with CAP_NET_ADMIN, CAP_SETUID and CAP_SETGID (and CAP_BPF for --xdp, "
      "CAP_BPF and CAP_PERFMON for --in-kernel, CAP_NET_RAW for --path afxdp, CAP_SYS_ADMIN for "
      "the self-test of the offloads); it keeps CAP_NET_ADMIN and becomes --user.\n"
      "A controller (omni-controller) tells it what to do over --socket."};
  app.set_version_flag("--version", std::string("omni-dataplane ") + kVersion);
  app.add_option("--socket", o.socket, "Unix socket to serve the controller on")
      ->capture_default_str();
  app.add_option("--user", o.user, "User to become")->capture_default_str();
  app.add_option("--controller-user", o.controller_user, "User that may connect, besides root")
      ->capture_default_str();
  app.add_option("--tun", o.tun, "Name of the TUN device to create")->capture_default_str();
  app.add_option("--listen-port", o.listen_port, "UDP port for everything, IPv4 and IPv6")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  app.add_option("--workers", o.workers, "Worker threads; 0: one per CPU, at most 16")
      ->check(CLI::Range(0U, kMaxWorkers))
      ->capture_default_str();
  app.add_option("--aead", aead,
                 "Implementation of the ciphers; auto: for each the fastest that passes its "
                 "self-test")
      ->check(CLI::IsMember({"auto", "ipsec-mb", "openssl", "libsodium"}))
      ->capture_default_str();
  AddPathOptions(app, o.paths);
  app.add_option("--in-kernel-hook", in_kernel_hook,
                 "Where small packets are opened; auto: at XDP on interfaces that have it natively "
                 "(see --xdp), at TC on others, tc: at TC everywhere")
      ->check(CLI::IsMember({"auto", "tc"}))
      ->capture_default_str();
  app.add_option("--disable-offload", disabled,
                 "Do without these abilities of the kernel, separated by commas: " + OffloadList())
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Validator(CheckOffload, "OFFLOAD"));
  app.add_option("--log-level", o.log_level, "trace, debug, info, warn or error")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "error"}))
      ->capture_default_str();
  app.footer("Exit codes: 0 stopped by a signal, 1 could not start or go on, 2 usage error.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    out.exit_code = app.exit(error) == 0 ? 0 : 2;
  }
  for (const AeadBackend backend : kAllAeadBackends) {
    if (aead == AeadBackendName(backend)) o.aead = backend;
  }
  if (in_kernel_hook == "tc") o.in_kernel_hook = InKernelHook::kTc;
  for (const std::string& name : disabled) {
    if (const auto offload = OffloadByName(name)) o.disabled_offloads.insert(*offload);
  }
  if (o.workers == 0) {
    o.workers = std::clamp(std::thread::hardware_concurrency(), 1U, kMaxWorkers);
  }
  return out;
}

}  // namespace omni
