// SPDX-License-Identifier: Apache-2.0
// `omnictl cluster status`, `revoke` and `revocations`: who is a member of the cluster by which
// secret, and who is none any more.
#include <fmt/format.h>

#include <memory>
#include <ostream>
#include <string>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/print.h"

namespace omni {
namespace {

struct RevokeOptions {
  std::string node;
  std::string reason;
  bool yes = false;
};

std::string NameOf(const api::Revocation& revocation) {
  return revocation.name().empty()
             ? revocation.node_id()
             : fmt::format("{} ({})", revocation.name(), revocation.node_id());
}

void Revoke(const Context& context, const RevokeOptions& options) {
  if (!options.yes) {
    throw CommandError(
        ExitCode::kUsage,
        fmt::format("cluster revoke {}: excludes the node from the whole cluster, ends its "
                    "sessions everywhere, and cannot be taken back; say --yes to do it",
                    options.node));
  }
  api::RevokeNodeRequest request;
  request.set_node(options.node);
  request.set_reason(options.reason);
  Client client(context);
  const auto revoked = client.Call(&Stub::RevokeNode, request);
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, revoked);
  *context.out << fmt::format(
      "revoked {}\n"
      "It still has the cluster secret, and could come back with another identity: give the "
      "cluster a new one.\n",
      NameOf(revoked));
}

void List(const Context& context) {
  Client client(context);
  const auto list = client.Call(&Stub::ListRevocations, api::ListRevocationsRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, list);
  Table table({"NODE", "NODE ID", "REVOKED", "REASON"});
  for (const auto& revocation : list.revocations()) {
    table.Add({revocation.name(), revocation.node_id(), HumanTime(revocation.time()),
               revocation.reason()});
  }
  table.Print(*context.out);
  if (list.refused() > 0) {
    *context.out << fmt::format("refused: {} statements that no member signed, or too many\n",
                                list.refused());
  }
}

std::string UseOf(const api::GetClusterResponse& cluster,
                  const api::GetClusterResponse::Node& node) {
  if (node.cluster_id().empty()) return "not known";
  if (node.cluster_id() == cluster.cluster_id()) return "present";
  return node.cluster_id() == cluster.accepted_cluster_id() ? "accepted" : node.cluster_id();
}

std::string HeldBy(const api::GetClusterResponse::Node& node) {
  if (node.holds_present() && node.holds_accepted()) return "both";
  if (node.holds_present()) return "present";
  return node.holds_accepted() ? "accepted" : "";
}

// What an administrator who changes the secret waits for.
std::string Advice(const api::GetClusterResponse& cluster) {
  if (cluster.accepted_cluster_id().empty()) return "";
  const std::string use = cluster.not_present() == 0
                              ? "All use the present secret: when that is so on each of them, the "
                                "accepted one can go.\n"
                              : fmt::format("{} of {} are not known to use the present secret.\n",
                                            cluster.not_present(), cluster.nodes_size());
  const std::string hold = cluster.not_accepted() == 0
                               ? "All hold the accepted one: it can be made the present one.\n"
                               : fmt::format("{} of {} are not known to hold the accepted one.\n",
                                             cluster.not_accepted(), cluster.nodes_size());
  return use + hold;
}

void Status(const Context& context) {
  Client client(context);
  const auto cluster = client.Call(&Stub::GetCluster, api::GetClusterRequest());
  if (context.format == OutputFormat::kJson) return PrintJson(*context.out, cluster);
  PrintFields(*context.out, {{"Present secret", cluster.cluster_id()},
                             {"Accepted secret", cluster.accepted_cluster_id()}});
  *context.out << '\n';
  Table table({"NODE", "NODE ID", "USES", "HOLDS"});
  for (const auto& node : cluster.nodes()) {
    table.Add({node.name(), node.node_id(), UseOf(cluster, node), HeldBy(node)});
  }
  table.Print(*context.out);
  *context.out << Advice(cluster);
}

}  // namespace

void AddMemberCommands(CLI::App& cluster, const Context& context) {
  CLI::App* status = cluster.add_subcommand(
      "status",
      "The secrets that this node holds, by their cluster ids, and those that others use");
  status->footer("Example:\n  omnictl cluster status --output json");
  status->callback([&context] { Status(context); });
  const auto options = std::make_shared<RevokeOptions>();
  CLI::App* revoke =
      cluster.add_subcommand("revoke", "Exclude a node from the cluster, everywhere and for good");
  revoke->add_option("node", options->node, "Name, or node id where the name is not known here")
      ->required()
      ->option_text("NODE");
  revoke->add_option("--reason", options->reason, "What others are shown; at most 200 bytes")
      ->option_text("TEXT");
  revoke->add_flag("--yes", options->yes, "Do it: there is no taking back");
  revoke->footer("Example:\n  omnictl cluster revoke robot-7 --reason \"stolen\" --yes");
  revoke->callback([&context, options] { Revoke(context, *options); });
  CLI::App* list = cluster.add_subcommand("revocations", "The nodes that are no members any more");
  list->footer("Example:\n  omnictl cluster revocations --output json");
  list->callback([&context] { List(context); });
}

}  // namespace omni
