// SPDX-License-Identifier: Apache-2.0
// Registry: the nodes of one cluster: their newest records and who was revoked, in the order in
// which that changed, and who holds which virtual address, by record or by lease. A change costs as
// much as the record, however many nodes there are; a reader asks for what follows the revision
// that it has. Kept in memory, written through to the Store; trouble with the disk is counted and
// the registry serves on. Owned by the server.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nucleus/registry/leases.h"
#include "nucleus/registry/store.h"
#include "signal/record/record.h"
#include "signal/record/revocation.h"

namespace omni {

class Registry {
 public:
  struct Limits {
    size_t nodes = 10'000;  // also those that were forgotten and whose end is still told
    // How long a node may be silent before it is forgotten, and then how long that is told.
    std::chrono::seconds retention{std::chrono::hours(30 * 24)};
  };

  // `store` is not owned; `pools`: see Leases. Leases outside of them are forgotten. The first of
  // `keys` names the cluster; what the store has under another one is taken over, once, and what is
  // of none of them ends.
  static absl::StatusOr<std::unique_ptr<Registry>> Load(Store& store,
                                                        const std::vector<ClusterKey>& keys,
                                                        Limits limits,
                                                        std::vector<IpPrefix> pools = {});

  enum class Verdict : uint8_t { kTaken, kUnchanged, kStale, kAddressTaken, kFull, kRevoked };
  struct Outcome {
    Verdict verdict = Verdict::kTaken;
    std::string detail;                                // of a refusal, for people
    const signal::v1::SignedRecord* newest = nullptr;  // kStale
  };
  // Takes a verified record. `wall` is seconds since 1970.
  Outcome Put(const NodeRecord& record, const signal::v1::SignedRecord& message, int64_t wall);
  // The node is no member any more, if the statement is sound: its record and leases end.
  RevocationList::Outcome Revoke(const signal::v1::SignedRevocation& message);
  const RevocationList& revoked() const { return revoked_; }
  // Gives a node of the registry an address of each pool, the same ones whenever it asks; empty
  // when there is nothing to give.
  std::vector<InterfaceAddress> Allocate(const NodeId& id, std::span<const IpAddress> wanted);
  void Release(const NodeId& id);
  // The node is there now.
  void NoteSeen(const NodeId& id, int64_t wall);
  // Forgets who was silent for too long; `is_connected` is asked about each of those.
  size_t ForgetSilent(int64_t wall, const std::function<bool(const NodeId&)>& is_connected);

  // What a reader that has `after` gets next, at most about `max_bytes` of it; without its own.
  signal::v1::Delta Next(uint64_t after, const NodeId& reader, size_t max_bytes) const;
  // Whether a reader that had this revision of this registry can go on from there.
  bool CanResume(uint64_t registry, uint64_t revision) const;

  const ClusterId& cluster() const { return cluster_; }
  uint64_t registry() const { return head_.registry; }
  uint64_t revision() const { return head_.revision; }
  size_t size() const { return nodes_.size() - forgotten_; }
  size_t leases() const { return leases_.size(); }
  uint64_t store_errors() const { return store_errors_; }
  const absl::Status& last_store_error() const { return last_store_error_; }

 private:
  struct Node {
    StoredNode stored;
    uint64_t sequence = 0;
    std::vector<IpAddress> addresses;
  };

  Registry(Store& store, const std::vector<ClusterKey>& keys, Limits limits,
           std::vector<IpPrefix> pools)
      : store_(store),
        cluster_(keys.front().id()),
        limits_(limits),
        leases_(std::move(pools)),
        revoked_(keys) {
    for (const ClusterKey& key : keys) ids_.push_back(key.id());
  }
  void Adopt(StoredNode stored);
  void End(Node& node);
  void AdoptRevocation(const StoredRevocation& stored);
  void AdoptLease(const StoredLease& lease);
  // nullptr: nobody but perhaps `id`.
  const NodeId* OtherHolder(const IpAddress& address, const NodeId& id) const;
  void Change(Node& node);
  void Hold(Node& node, std::vector<IpAddress> addresses);
  void Note(const absl::Status& written);

  Store& store_;
  const ClusterId cluster_;
  std::vector<ClusterId> ids_;  // of all keys
  const Limits limits_;
  StoredCluster head_;  // without its nodes
  absl::flat_hash_map<NodeId, std::unique_ptr<Node>> nodes_;
  std::map<uint64_t, Node*> by_revision_;
  absl::flat_hash_map<IpAddress, NodeId> holders_;  // by their records
  Leases leases_;
  RevocationList revoked_;
  std::map<uint64_t, const RevocationList::Entry*> revoked_by_revision_;
  size_t forgotten_ = 0;
  uint64_t store_errors_ = 0;
  absl::Status last_store_error_;
};

}  // namespace omni
