// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <ostream>
#include <string>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

// LIMIT: the controller answers within 6 s (CheckNetwork).
constexpr double kAtLeastS = 8;

std::string Describe(api::Mapping mapping) {
  switch (mapping) {
    case api::MAPPING_NONE:
      return "none";
    case api::MAPPING_PORT_INDEPENDENT:
      return "easy: the port is mapped the same for two ports of the Nucleus";
    case api::MAPPING_ENDPOINT_INDEPENDENT:
      return "easy: the port is mapped the same for each server";
    case api::MAPPING_ADDRESS_DEPENDENT:
      return "hard: the port is mapped anew for each address";
    case api::MAPPING_ADDRESS_AND_PORT_DEPENDENT:
      return "hard: the port is mapped anew for each address and port";
    default:
      return "";
  }
}

std::string NucleusState(const api::CheckNetworkResponse& network) {
  if (!network.nucleus_configured()) return "not configured: nobody can be asked";
  if (network.nucleus_state() == api::NUCLEUS_STATE_REGISTERED) return "registered";
  return network.nucleus_error().empty() ? "not registered"
                                         : "not registered: " + network.nucleus_error();
}

std::string PortMapping(const api::CheckNetworkResponse& network) {
  if (!network.has_port_mapping()) return "not needed, or turned off";
  const auto& mapping = network.port_mapping();
  if (!mapping.outer().empty()) return fmt::format("{} by {}", mapping.outer(), mapping.protocol());
  return mapping.error().empty() ? "asking" : "none: " + mapping.error();
}

// "robot-7", or the id of one whose record is not known.
template <typename Node>
std::string NameOf(const Node& node) {
  return node.name().empty() ? node.node_id() : node.name();
}

void PrintMesh(std::ostream& out, const api::Mesh& mesh) {
  if (!mesh.neighbours().empty()) {
    out << "\nOn the links of this machine:\n";
    Table table({"NODE", "AT", "HEARD"});
    for (const auto& neighbour : mesh.neighbours()) {
      table.Add(
          {NameOf(neighbour), neighbour.endpoint(), HumanAge(neighbour.heard_ago()) + " ago"});
    }
    table.Print(out);
  }
  if (mesh.connections().empty()) return;
  out << "\nQUIC connections with other nodes:\n";
  Table table({"ID", "NODE", "AT", "BEGUN BY", "MOVES", "AGE"});
  for (const auto& connection : mesh.connections()) {
    table.Add({connection.id(), NameOf(connection), connection.endpoint(),
               connection.accepted() ? "it" : "us", fmt::format("{}", connection.moves()),
               HumanAge(connection.age())});
  }
  table.Print(out);
}

void NetCheck(const Context& context) {
  Context patient = context;
  patient.timeout_s = std::max(patient.timeout_s, kAtLeastS);
  Client client(patient);
  const auto network = client.Call(&Stub::CheckNetwork, api::CheckNetworkRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, network);
  std::vector<std::pair<std::string, std::string>> fields = {
      {"Nucleus", NucleusState(network)},
      {"Nucleus RTT", network.has_nucleus_rtt() ? HumanRtt(network.nucleus_rtt()) : ""}};
  for (const auto& family : network.families()) {
    const std::string& name = family.family();
    const bool has_any = family.local_size() > 0;
    fields.emplace_back(
        name, has_any ? fmt::format("{}", fmt::join(family.local(), ", ")) : "no address");
    if (!has_any) continue;
    fields.emplace_back(name + " seen at", family.mapped());
    fields.emplace_back(name + " NAT", Describe(family.mapping()));
    fields.emplace_back(name + " not tested", family.error());
  }
  fields.emplace_back("Port mapping", PortMapping(network));
  fields.emplace_back("Beacons", DescribeBeacons(network.mesh()));
  PrintFields(*context.out, fields);
  PrintMesh(*context.out, network.mesh());
}

}  // namespace

void AddNetCheckCommand(CLI::App& app, const Context& context) {
  auto* command = app.add_subcommand("netcheck", "How this machine is connected to the internet");
  command->footer(
      "Asks the Nucleus where it sees this machine. Behind an easy NAT a machine is reached "
      "directly\n"
      "from most others; behind a hard one only from those whose NAT does not filter by port.\n\n"
      "Example:\n  omnictl netcheck --output json");
  command->callback([&context] { NetCheck(context); });
}

}  // namespace omni
