// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ostream>
#include <string>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

std::string StateName(const api::GetNucleusResponse& nucleus) {
  if (nucleus.has_revoked()) return "this node is revoked: no member of the cluster any more";
  switch (nucleus.state()) {
    case api::NUCLEUS_STATE_WAITING:
      return nucleus.has_next_try_in()
                 ? fmt::format("not registered; next try in {}", HumanAge(nucleus.next_try_in()))
                 : "not registered; the dataplane is not there";
    case api::NUCLEUS_STATE_CONNECTING:
      return "connecting";
    case api::NUCLEUS_STATE_DOWN:
      return "not registered; this node is down";
    case api::NUCLEUS_STATE_REGISTERED:
      return "registered for " + HumanAge(nucleus.registered_for());
    default:
      return "unknown";
  }
}

std::string SourceName(api::AddressSource source) {
  switch (source) {
    case api::ADDRESS_SOURCE_NUCLEUS:
      return "from the Nucleus";
    case api::ADDRESS_SOURCE_RELEASED:
      return "released: none until a reload or restart";
    default:
      return "configured";
  }
}

void Release(const Context& context) {
  Client client(context);
  const auto released = client.Call(&Stub::ReleaseAddresses, api::ReleaseAddressesRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, released);
  *context.out << "released\n";
}

void Status(const Context& context) {
  Client client(context);
  const auto nucleus = client.Call(&Stub::GetNucleus, api::GetNucleusRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, nucleus);
  if (!nucleus.configured()) {
    *context.out << "no Nucleus is configured: peers are those of the configuration and the API\n";
    return;
  }
  PrintFields(
      *context.out,
      {{"State", StateName(nucleus)},
       {"Last error", nucleus.last_error()},
       {"Revoked at", nucleus.has_revoked() ? HumanTime(nucleus.revoked().time()) : ""},
       {"Configured", fmt::format("{}", fmt::join(nucleus.addresses(), ", "))},
       {"Address", nucleus.endpoint()},
       {"Node id", nucleus.node_id()},
       {"Sees us at", nucleus.observed()},
       {"Own addresses", SourceName(nucleus.address_source())},
       {"RTT", nucleus.has_rtt() ? HumanRtt(nucleus.rtt()) : ""},
       {"Nodes known from it", fmt::format("{}", nucleus.nodes())},
       {"QUIC connection", nucleus.connection_id()},
       {"Registrations", fmt::format("{}", nucleus.registrations())},
       {"Refused records",
        nucleus.refused_records() == 0 ? "" : fmt::format("{}", nucleus.refused_records())}});
  if (nucleus.problems().empty()) return;
  *context.out << "\nNot used here:\n";
  Table table({"NODE", "NODE ID", "WHY"});
  for (const auto& problem : nucleus.problems()) {
    table.Add({problem.name(), problem.node_id(), problem.problem()});
  }
  table.Print(*context.out);
}

}  // namespace

void AddNucleusCommand(CLI::App& app, const Context& context) {
  auto* nucleus = app.add_subcommand("nucleus", "Where this node finds others");
  nucleus->footer("Example:\n  omnictl nucleus status");
  nucleus->require_subcommand(1);
  auto* status =
      nucleus->add_subcommand("status", "The connection, and what of others is not used here");
  status->footer("Example:\n  omnictl nucleus status --output json");
  status->callback([&context] { Status(context); });
  auto* release = nucleus->add_subcommand(
      "release", "Give the addresses that the Nucleus allocated back; a reload asks for new ones");
  release->footer("Example:\n  omnictl nucleus release");
  release->callback([&context] { Release(context); });
}

}  // namespace omni
