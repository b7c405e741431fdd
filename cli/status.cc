// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

std::string WithReason(const std::string& value, const std::string& reason) {
  return reason.empty() ? value : fmt::format("{} ({})", value, reason);
}

void PrintDataplane(std::ostream& out, const api::GetStatusResponse::Dataplane& dataplane) {
  if (!dataplane.connected()) {
    PrintFields(out, {{"Dataplane", "not connected"},
                      {"  Socket", dataplane.socket()},
                      {"  Error", dataplane.error()}});
    return;
  }
  PrintFields(out, {{"Dataplane", fmt::format("version {}, pid {}, up {}", dataplane.version(),
                                              dataplane.pid(), HumanAge(dataplane.uptime()))},
                    {"  Socket", dataplane.socket()},
                    {"  Interface", dataplane.tun_name()},
                    {"  UDP port", fmt::format("{}", dataplane.listen_port())},
                    {"  Workers", fmt::format("{}", dataplane.workers())},
                    {"  Path", WithReason(dataplane.path(), dataplane.path_reason())},
                    {"  Generation", fmt::format("{}", dataplane.generation())}});
  std::vector<std::pair<std::string, std::string>> ciphers;
  for (const auto& cipher : dataplane.ciphers()) {
    ciphers.emplace_back(
        "    " + cipher.name(),
        fmt::format("{}, {} ns for 64 bytes, {} ns for 1420, {}", cipher.backend(), cipher.ns_64(),
                    cipher.ns_1420(), cipher.offered() ? "offered to peers" : "not offered"));
  }
  out << "  Ciphers:\n";
  PrintFields(out, ciphers);
  if (dataplane.features().empty()) return;
  out << "  Offloads:\n";
  std::vector<std::pair<std::string, std::string>> features;
  for (const auto& feature : dataplane.features()) {
    features.emplace_back("    " + feature.name(),
                          WithReason(feature.active() ? "on" : "off", feature.reason()));
  }
  PrintFields(out, features);
}

// "for peers, 2 pairs now, 1.2 MiB in 345 packets so far"
std::string DescribeRelay(const api::GetStatusResponse& status) {
  if (!status.has_relay()) return "";
  const auto& relay = status.relay();
  return fmt::format("for peers, {} {} now, {} in {} packets so far", relay.pairs(),
                     relay.pairs() == 1 ? "pair" : "pairs", HumanBytes(relay.bytes()),
                     relay.packets());
}

void Run(const Context& context) {
  Client client(context);
  const auto status = client.Call(&Stub::GetStatus, api::GetStatusRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, status);
  const auto& controller = status.controller();
  PrintFields(*context.out,
              {{"Node", status.name()},
               {"State", status.state() == api::NODE_STATE_DOWN ? "down; omnictl up" : "up"},
               {"Node id", status.node_id()},
               {"Key", status.key()},
               {"Addresses", status.address_error().empty()
                                 ? fmt::format("{}", fmt::join(status.addresses(), ", "))
                                 : "none: " + status.address_error()},
               {"Beacons", DescribeBeacons(status.mesh())},
               {"Relay", DescribeRelay(status)},
               {"Peers", fmt::format("{} ({} up)", controller.peers(), controller.peers_up())}});
  *context.out << '\n';
  PrintFields(*context.out,
              {{"Controller", fmt::format("version {}, pid {}, up {}", controller.version(),
                                          controller.pid(), HumanAge(controller.uptime()))},
               {"  Configuration", controller.config_file()},
               {"  Last reload failed", controller.last_reload_error()}});
  *context.out << '\n';
  PrintDataplane(*context.out, status.dataplane());
}

}  // namespace

void AddStatusCommand(CLI::App& app, const Context& context) {
  auto* command = app.add_subcommand("status", "This node, its controller and its dataplane");
  command->footer("Example:\n  omnictl status --output json");
  command->callback([&context] { Run(context); });
}

}  // namespace omni
