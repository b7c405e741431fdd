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

template <typename T>
std::string WhatIsWrong(const absl::StatusOr<T>& parsed) {
  return parsed.ok() ? "" : std::string(Message(parsed.status()));
}

// What was said of XDP, word by word.
struct XdpWords {
  std::vector<std::string> path;
  std::vector<std::string> xdp;
};

void AddXdpOptions(CLI::App& app, XdpWords& words) {
  app.add_option("--path", words.path,
                 "How session data reaches and leaves this program: auto, socket or afxdp, or "
                 "INTERFACE=VALUE; auto: AF_XDP where the driver binds it without copying, afxdp: "
                 "with a copy, too, else the socket")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Validator(
          [](const std::string& word) { return WhatIsWrong(ParsePathChoices({word})); }, "PATH"));
  app.add_option("--xdp", words.xdp,
                 "Where floods end and session data is sorted before the kernel's network stack: "
                 "auto, off, native or generic, or INTERFACE=VALUE; auto: in drivers that lose "
                 "nothing by it, and for --path afxdp")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Validator(
          [](const std::string& word) { return WhatIsWrong(ParseXdpChoices({word})); }, "XDP"));
}

}  // namespace

ParsedOptions ParseOptions(int argc, char** argv) {
  ParsedOptions out;
  Options& o = out.options;
  std::string aead = "auto";
  XdpWords xdp;
  std::string in_kernel = "auto";
  std::vector<std::string> disabled;
  CLI::App app{
      "omni-dataplane: moves the packets of the OmniNervous network.\n"
      "Start it as root or with CAP_NET_ADMIN, CAP_SETUID and CAP_SETGID (and CAP_BPF and "
      "CAP_PERFMON for --in-kernel); it keeps CAP_NET_ADMIN and becomes --user.\n"
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
  app.add_option("--in-kernel", in_kernel,
                 "Open and seal small packets inside the kernel; auto: where it can be, on: fail "
                 "where not")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  app.add_option("--in-kernel-threshold", o.in_kernel_threshold,
                 "Largest packet that the kernel seals, in bytes")
      ->check(CLI::Range(0U, kMaxInKernelThreshold))
      ->capture_default_str();
  AddXdpOptions(app, xdp);
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
  if (in_kernel == "on") o.in_kernel = InKernel::kOn;
  if (in_kernel == "off") o.in_kernel = InKernel::kOff;
  for (const std::string& name : disabled) {
    if (const auto offload = OffloadByName(name)) o.disabled_offloads.insert(*offload);
  }
  if (const auto choices = ParsePathChoices(xdp.path); choices.ok()) o.xdp.path = *choices;
  if (const auto choices = ParseXdpChoices(xdp.xdp); choices.ok()) o.xdp.xdp = *choices;
  if (o.workers == 0) {
    o.workers = std::clamp(std::thread::hardware_concurrency(), 1U, kMaxWorkers);
  }
  return out;
}

}  // namespace omni
