// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <ostream>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

void List(const Context& context) {
  Client client(context);
  const auto response = client.Call(&Stub::ListSessions, api::ListSessionsRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, response);
  Table table({"PEER", "SLOT", "ROLE", "CIPHER", "AGE", "CHANNELS", "RECEIVED", "SENT", "SESSION"},
              {"CHANNELS", "RECEIVED", "SENT"});
  for (const auto& session : response.sessions()) {
    table.Add({session.peer(), session.slot(), session.role(), session.cipher(),
               HumanAge(session.age()), fmt::format("{}", session.channels()),
               fmt::format("{}", session.rx_packets()), fmt::format("{}", session.tx_packets()),
               session.session_id()});
  }
  table.Print(*context.out);
}

}  // namespace

void AddSessionsCommand(CLI::App& app, const Context& context) {
  auto* sessions = app.add_subcommand("sessions", "The live sessions with peers");
  sessions->footer("Example:\n  omnictl sessions list");
  sessions->require_subcommand(1);
  auto* list = sessions->add_subcommand("list", "All sessions; traffic counted in packets");
  list->footer("Example:\n  omnictl sessions list --output json");
  list->callback([&context] { List(context); });
}

}  // namespace omni
