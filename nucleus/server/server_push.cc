// SPDX-License-Identifier: Apache-2.0
// How members are told what changed in the registry: in rounds, each from the revision that it has.
#include <algorithm>

#include "nucleus/server/server.h"

namespace omni {
namespace {

using namespace std::chrono_literals;

// LIMIT: for so long changes are collected: nobody notices it, and a fleet that starts at once
// costs each member a few messages and not one for each of the others.
constexpr Duration kCollect = 20ms;
// LIMIT: members that are told in one go: 2 ms. Between two goes what they send is read, or their
// acknowledgements fill the socket's buffer, and what is lost then is others' first datagrams.
constexpr size_t kToldAtOnce = 64;
// LIMIT: a round is followed by a rest as long as it took, and this at most: telling a fleet of
// each other's joins must leave time for the joins.
constexpr Duration kLongestRest = 500ms;
// LIMIT: half of what one message may have; one record more fits in any case.
constexpr size_t kDeltaBytes = size_t{32} << 10U;

}  // namespace

using quic::ConnectionId;
namespace pb = signal::v1;

void NucleusServer::PushSoon(Cluster& cluster) {
  if (!cluster.push_at) cluster.push_at = std::max(now_ + kCollect, cluster.rest_until);
}

void NucleusServer::Push(Cluster& cluster) {
  if (cluster.untold.empty()) {
    for (const auto& [node, id] : cluster.members) cluster.untold.push_back(id);
    cluster.round_begun = now_;
    cluster.round_revision = cluster.registry->revision();
  }
  for (size_t i = 0; i < kToldAtOnce && !cluster.untold.empty(); ++i) {
    const ConnectionId id = cluster.untold.back();
    cluster.untold.pop_back();
    PushTo(id);
  }
  cluster.push_at.reset();
  if (!cluster.untold.empty()) {
    cluster.push_at = now_;
    return;
  }
  cluster.rest_until = now_ + std::min(now_ - cluster.round_begun, kLongestRest);
  // Those who were told first do not have what came during the round.
  if (cluster.registry->revision() != cluster.round_revision) PushSoon(cluster);
}

// What the member does not have yet, as far as there is room for it.
void NucleusServer::PushTo(ConnectionId id) {
  auto found = connections_.find(id);
  while (found != connections_.end() && !found->second.blocked) {
    Connection& connection = found->second;
    const Registry& registry = *connection.cluster->registry;
    if (connection.revision >= registry.revision() && !connection.from_beginning) return;
    pb::NucleusMessage message;
    *message.mutable_delta() = registry.Next(connection.revision, connection.node, kDeltaBytes);
    message.mutable_delta()->set_from_beginning(connection.from_beginning);
    const uint64_t reached = message.delta().revision();
    const absl::Status sent = host_->Send(id, message.SerializeAsString(), now_);
    found = connections_.find(id);
    if (found == connections_.end()) return;
    if (!sent.ok()) {
      found->second.blocked = true;  // until OnWritable()
      return;
    }
    ++counters_.deltas;
    found->second.revision = reached;
    found->second.from_beginning = false;
  }
}

void NucleusServer::OnWritable(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  found->second.blocked = false;
  if (found->second.stage == Stage::kMember) PushTo(id);
}

}  // namespace omni
