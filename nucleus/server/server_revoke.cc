// SPDX-License-Identifier: Apache-2.0
// Nodes that are no members any more, at the signed word of one who is.
#include <vector>

#include "common/log.h"
#include "nucleus/server/server.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using quic::ConnectionId;

// LIMIT: proto/omni/signal/v1. A signature that is looked at in vain costs 100 microseconds.
constexpr double kRevokeBurst = 100;
constexpr double kRevokePerSecond = 10;

}  // namespace

// Shown by a statement that the node can check, where there is one.
NucleusServer::Refusal NucleusServer::IsRevoked(const Connection& connection) {
  const RevocationList& list = connection.cluster->registry->revoked();
  const auto own = list.entries().find({connection.node, connection.key->id()});
  const RevocationList::Entry& revoked =
      own == list.entries().end() ? *list.Find(connection.node) : own->second;
  return {.reason = pb::Refused::REASON_REVOKED,
          .detail =
              revoked.revocation.reason.empty() ? "no reason was given" : revoked.revocation.reason,
          .revocation = &revoked.message};
}

void NucleusServer::OnRevoke(ConnectionId id, Connection& connection, const pb::Revoke& message) {
  using Verdict = RevocationList::Verdict;
  if (static_cast<size_t>(message.revocations_size()) > kMaxRevocationsInMessage) {
    return Break(id, "too many revocations in a message");
  }
  if (!connection.revoke.Take(kRevokeBurst, kRevokePerSecond, now_)) return Refuse(id, TooFast());
  Cluster& cluster = *connection.cluster;
  const NodeId by = connection.node;
  std::vector<const RevocationList::Entry*> fresh;
  std::optional<Refusal> refusal;
  for (const pb::SignedRevocation& statement : message.revocations()) {
    const auto outcome = cluster.registry->Revoke(statement);
    if (outcome.verdict == Verdict::kNew) fresh.push_back(outcome.entry);
    if (outcome.verdict != Verdict::kRefused && outcome.verdict != Verdict::kFull) continue;
    refusal = {.reason = outcome.verdict == Verdict::kFull ? pb::Refused::REASON_TOO_MANY_REVOKED
                                                           : pb::Refused::REASON_BAD_REVOCATION,
               .detail = outcome.detail};
    break;
  }
  // The answer first: whose connections end below may be the sender itself.
  if (refusal) Refuse(id, *refusal);
  for (const RevocationList::Entry* revoked : fresh) {
    spdlog::warn("cluster {}: node {} is revoked, at the word of node {}: {}", cluster.name,
                 revoked->revocation.node.ToString(), by.ToString(), revoked->revocation.reason);
    Expel(cluster, revoked->revocation.node);
  }
  // At once: each moment counts here, and a burst is one message.
  if (!fresh.empty()) cluster.push_at = now_;
}

void NucleusServer::Expel(Cluster& cluster, const NodeId& node) {
  cluster.buckets.erase(node);
  const auto member = cluster.members.find(node);
  if (member == cluster.members.end()) return;
  const ConnectionId id = member->second;
  Refuse(id, IsRevoked(connections_.at(id)));
}

}  // namespace omni
