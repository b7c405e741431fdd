// SPDX-License-Identifier: Apache-2.0
#include "nucleus/registry/registry.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: more changes than a power failure can take from the write-ahead log: what readers saw of
// them is never numbered again.
constexpr uint64_t kRevisionsPerStart = uint64_t{1} << 20U;
// LIMIT: how exact the time is at which a node was last seen.
constexpr int64_t kSeenStep = 3600;

uint64_t NewRegistryNumber() {
  uint64_t number = 0;
  // SQLite's integers are signed.
  while (number == 0) {
    randombytes_buf(&number, sizeof(number));
    number >>= 1U;
  }
  return number;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Registry>> Registry::Load(Store& store,
                                                         const std::vector<ClusterKey>& keys,
                                                         Limits limits,
                                                         std::vector<IpPrefix> pools) {
  std::unique_ptr<Registry> made(new Registry(store, keys, limits, std::move(pools)));
  const ClusterId& cluster = made->cluster_;
  ASSIGN_OR_RETURN(StoredCluster stored, store.Load(cluster));
  for (auto former = keys.begin() + 1; stored.registry == 0 && former != keys.end(); ++former) {
    RETURN_IF_ERROR(store.Rename(former->id(), cluster));
    ASSIGN_OR_RETURN(stored, store.Load(cluster));
  }
  made->head_.registry = stored.registry == 0 ? NewRegistryNumber() : stored.registry;
  made->head_.revision = stored.revision + kRevisionsPerStart;
  made->head_.floor = stored.floor;
  for (const StoredRevocation& revocation : stored.revocations) made->AdoptRevocation(revocation);
  for (StoredNode& node : stored.nodes) made->Adopt(std::move(node));
  for (const StoredLease& lease : stored.leases) made->AdoptLease(lease);
  RETURN_IF_ERROR(store.Save(cluster, made->head_, nullptr));
  return made;
}

void Registry::Adopt(StoredNode stored) {
  auto node = std::make_unique<Node>();
  if (!stored.is_forgotten()) {
    auto record = Verify(stored.record, ids_);
    if (!record.ok() || record->id() != stored.id) {
      // As after a change of the secret that the node has slept through.
      spdlog::warn("registry: node {} is forgotten: {}", stored.id.ToString(),
                   record.ok() ? "it is another node's" : Message(record.status()));
      node->stored = std::move(stored);
      End(*node);
      nodes_.emplace(NodeId(node->stored.id), std::move(node));
      return;
    }
    node->sequence = record->sequence;
    Hold(*node, {});
    node->stored = std::move(stored);
    Hold(*node, std::move(record->addresses));
  } else {
    node->stored = std::move(stored);
    ++forgotten_;
  }
  by_revision_.emplace(node->stored.revision, node.get());
  nodes_.emplace(NodeId(node->stored.id), std::move(node));
}

void Registry::AdoptRevocation(const StoredRevocation& stored) {
  const auto outcome = revoked_.Take(stored.message);
  if (outcome.entry != nullptr) {
    revoked_by_revision_.emplace(stored.revision, outcome.entry);
    return;
  }
  // As after a change of the secret.
  spdlog::info("registry: the revocation of node {} ends: {}", stored.node.ToString(),
               outcome.detail);
  Note(store_.EraseRevocation(cluster_, stored));
}

void Registry::AdoptLease(const StoredLease& lease) {
  const auto node = nodes_.find(lease.node);
  const bool is_node = node != nodes_.end() && !node->second->stored.is_forgotten();
  if (is_node && leases_.Restore(lease.address, lease.node)) return;
  spdlog::info("registry: the lease of {} to node {} ends: {}", lease.address.ToString(),
               lease.node.ToString(), is_node ? "it lies in no pool" : "the node is forgotten");
  Note(store_.EraseLease(cluster_, lease.address));
}

Registry::Outcome Registry::Put(const NodeRecord& record, const signal::v1::SignedRecord& message,
                                int64_t wall) {
  if (revoked_.Find(record.id()) != nullptr) {
    return {.verdict = Verdict::kRevoked, .detail = "this node is revoked", .newest = nullptr};
  }
  const auto found = nodes_.find(record.id());
  Node* known = found == nodes_.end() ? nullptr : found->second.get();
  if (known != nullptr && !known->stored.is_forgotten()) {
    if (known->stored.record.record() == message.record()) {
      NoteSeen(record.id(), wall);
      return {.verdict = Verdict::kUnchanged, .detail = "", .newest = nullptr};
    }
    if (record.sequence <= known->sequence) {
      return {.verdict = Verdict::kStale,
              .detail = fmt::format("the registry holds number {} of this node", known->sequence),
              .newest = &known->stored.record};
    }
  }
  for (const IpAddress& address : record.addresses) {
    const NodeId* holder = OtherHolder(address, record.id());
    if (holder == nullptr) continue;
    return {.verdict = Verdict::kAddressTaken,
            .detail = fmt::format("{} belongs to node {}", address.ToString(), holder->ToString()),
            .newest = nullptr};
  }
  if (known == nullptr) {
    if (nodes_.size() >= limits_.nodes) {
      return {.verdict = Verdict::kFull,
              .detail = fmt::format("the cluster has {} nodes already", nodes_.size()),
              .newest = nullptr};
    }
    known = nodes_.emplace(record.id(), std::make_unique<Node>()).first->second.get();
    known->stored.id = record.id();
  } else if (known->stored.is_forgotten()) {
    --forgotten_;
  }
  known->sequence = record.sequence;
  known->stored.record = message;
  known->stored.seen = wall;
  Hold(*known, record.addresses);
  Change(*known);
  return {};
}

RevocationList::Outcome Registry::Revoke(const signal::v1::SignedRevocation& message) {
  auto outcome = revoked_.Take(message);
  if (outcome.verdict != RevocationList::Verdict::kNew) return outcome;
  const Revocation& revocation = outcome.entry->revocation;
  // Nobody has to be told that the node is gone: this says it.
  if (const auto node = nodes_.find(revocation.node); node != nodes_.end()) {
    Hold(*node->second, {});
    Release(revocation.node);
    if (node->second->stored.is_forgotten()) --forgotten_;
    by_revision_.erase(node->second->stored.revision);
    nodes_.erase(node);
  }
  const uint64_t revision = ++head_.revision;
  revoked_by_revision_.emplace(revision, outcome.entry);
  Note(store_.SaveRevocation(cluster_, head_,
                             {.node = revocation.node,
                              .signer = revocation.cluster,
                              .message = message,
                              .revision = revision}));
  return outcome;
}

void Registry::Hold(Node& node, std::vector<IpAddress> addresses) {
  for (const IpAddress& address : node.addresses) holders_.erase(address);
  node.addresses = std::move(addresses);
  for (const IpAddress& address : node.addresses)
    holders_.insert_or_assign(address, node.stored.id);
}

const NodeId* Registry::OtherHolder(const IpAddress& address, const NodeId& id) const {
  const auto holder = holders_.find(address);
  if (holder != holders_.end() && holder->second != id) return &holder->second;
  const NodeId* lessee = leases_.HolderOf(address);
  return lessee == nullptr || *lessee == id ? nullptr : lessee;
}

std::vector<InterfaceAddress> Registry::Allocate(const NodeId& id,
                                                 std::span<const IpAddress> wanted) {
  const auto node = nodes_.find(id);
  if (node == nodes_.end() || node->second->stored.is_forgotten()) return {};
  Leases::Grant grant = leases_.Allocate(
      id, wanted, [&](const IpAddress& address) { return OtherHolder(address, id) != nullptr; });
  for (const IpAddress& address : grant.added) {
    Note(store_.SaveLease(cluster_, {.address = address, .node = id}));
  }
  return std::move(grant.addresses);
}

void Registry::Release(const NodeId& id) {
  for (const IpAddress& address : leases_.Release(id)) {
    Note(store_.EraseLease(cluster_, address));
  }
}

// The node becomes the newest change.
void Registry::Change(Node& node) {
  if (node.stored.revision != 0) by_revision_.erase(node.stored.revision);
  node.stored.revision = ++head_.revision;
  by_revision_.emplace(node.stored.revision, &node);
  Note(store_.Save(cluster_, head_, &node.stored));
}

void Registry::Note(const absl::Status& written) {
  if (written.ok()) return;
  if (store_errors_++ == 0 || last_store_error_ != written) {
    spdlog::error("registry: {}; serving on from memory", Message(written));
  }
  last_store_error_ = written;
}

void Registry::NoteSeen(const NodeId& id, int64_t wall) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || wall < found->second->stored.seen + kSeenStep) return;
  found->second->stored.seen = wall;
  Note(store_.SaveSeen(cluster_, id, wall));
}

size_t Registry::ForgetSilent(int64_t wall,
                              const std::function<bool(const NodeId&)>& is_connected) {
  std::vector<Node*> silent;
  for (const auto& [id, node] : nodes_) {
    if (wall - node->stored.seen > limits_.retention.count() && !is_connected(id)) {
      silent.push_back(node.get());
    }
  }
  size_t forgotten = 0;
  for (Node* node : silent) {
    if (node->stored.is_forgotten()) {
      // Long enough told: readers that do not know it by now get the full list.
      const NodeId id = node->stored.id;
      head_.floor = std::max(head_.floor, node->stored.revision);
      by_revision_.erase(node->stored.revision);
      nodes_.erase(id);
      --forgotten_;
      Note(store_.Erase(cluster_, id));
      Note(store_.Save(cluster_, head_, nullptr));
      continue;
    }
    node->stored.seen = wall;
    ++forgotten;
    End(*node);
  }
  return forgotten;
}

// Readers are told that it is gone.
void Registry::End(Node& node) {
  Hold(node, {});
  Release(node.stored.id);
  node.stored.record.Clear();
  ++forgotten_;
  Change(node);
}

bool Registry::CanResume(uint64_t registry, uint64_t revision) const {
  return registry == head_.registry && revision >= head_.floor && revision <= head_.revision;
}

signal::v1::Delta Registry::Next(uint64_t after, const NodeId& reader, size_t max_bytes) const {
  signal::v1::Delta delta;
  delta.set_registry(head_.registry);
  size_t bytes = 0;
  auto next = by_revision_.upper_bound(after);
  auto revoked = revoked_by_revision_.upper_bound(after);
  while (bytes < max_bytes) {
    const bool has_node = next != by_revision_.end();
    const bool has_revocation = revoked != revoked_by_revision_.end();
    if (!has_node && !has_revocation) break;
    if (has_revocation && (!has_node || revoked->first < next->first)) {
      *delta.add_revocations() = revoked->second->message;
      bytes += revoked->second->message.ByteSizeLong();
      after = (revoked++)->first;
      continue;
    }
    const StoredNode& node = next->second->stored;
    after = (next++)->first;
    if (node.id == reader) continue;
    if (node.is_forgotten()) {
      delta.add_forgotten(node.id.ToBytes());
      bytes += node.id.bytes.size();
    } else {
      *delta.add_records() = node.record;
      bytes += node.record.ByteSizeLong();
    }
  }
  delta.set_caught_up(next == by_revision_.end() && revoked == revoked_by_revision_.end());
  delta.set_revision(delta.caught_up() ? head_.revision : after);
  return delta;
}

}  // namespace omni
