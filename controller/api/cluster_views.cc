// SPDX-License-Identifier: Apache-2.0
// Who is a member of the cluster and by which secret, as messages of the management API.
#include "controller/api/views.h"

namespace omni {
namespace {

namespace api = control::v1;

// What is known of a node's secrets.
struct Secrets {
  std::optional<ClusterId> uses;
  const NodeRecord* record = nullptr;  // nullptr: nothing but what its handshakes say

  bool Holds(const ClusterId& id) const {
    return uses == id || (record != nullptr && record->Holds(id));
  }
};

}  // namespace

void FillCluster(const Controller& controller, api::GetClusterResponse& out) {
  const auto& keyring = controller.keyring();
  if (!keyring) return;
  const ClusterId present = keyring->present().key.id();
  std::optional<ClusterId> accepted;
  if (keyring->held().size() > 1) accepted = keyring->held().back().key.id();
  out.set_cluster_id(present.ToString());
  if (accepted) out.set_accepted_cluster_id(accepted->ToString());
  const auto add = [&](const NodeId& id, const std::string& name, const Secrets& secrets) {
    auto& node = *out.add_nodes();
    node.set_name(name);
    node.set_node_id(id.ToString());
    if (secrets.uses) node.set_cluster_id(secrets.uses->ToString());
    node.set_holds_present(secrets.Holds(present));
    node.set_holds_accepted(accepted && secrets.Holds(*accepted));
    if (secrets.uses != present) out.set_not_present(out.not_present() + 1);
    if (accepted && !node.holds_accepted()) out.set_not_accepted(out.not_accepted() + 1);
  };
  for (const auto& [name, peer] : controller.peers()) {
    if (peer->revoked) continue;
    const auto learned = controller.learned().find(peer->id());
    add(peer->id(), name,
        {.uses = controller.ClusterOf(*peer),
         .record = learned == controller.learned().end() ? nullptr : &learned->second.record});
  }
  // Nodes whose records cannot be used here are members as well.
  for (const auto& [id, learned] : controller.learned()) {
    if (controller.peers().Find(id) != nullptr) continue;
    add(id, learned.record.name, {.uses = learned.record.cluster, .record = &learned.record});
  }
}

void FillRevocation(const Revocation& revocation, api::Revocation& out) {
  out.set_node_id(revocation.node.ToString());
  out.set_name(revocation.name);
  out.set_reason(revocation.reason);
  out.set_time(revocation.time);
  out.set_cluster_id(revocation.cluster.ToString());
}

void FillRevocations(const Controller& controller, api::ListRevocationsResponse& out) {
  const NodeId* last = nullptr;
  for (const auto& [key, entry] : controller.revocations().entries()) {
    // Under each secret of a cluster that changes it there is a statement.
    if (last == nullptr || *last != key.first) {
      FillRevocation(entry.revocation, *out.add_revocations());
    }
    last = &key.first;
  }
  out.set_refused(controller.revocations().refused());
}

}  // namespace omni
