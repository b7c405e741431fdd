// SPDX-License-Identifier: Apache-2.0
// Registry: the nodes of one cluster: their newest records, in the order in which they changed, and
// who holds which virtual address. A change costs as much as the record, however many nodes there
// are; a reader asks for what follows the revision that it has. Kept in memory, written through to
// the Store; trouble with the disk is counted and the registry serves on. Owned by the server.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nucleus/registry/store.h"
#include "signal/record/record.h"

namespace omni {

class Registry {
 public:
  struct Limits {
    size_t nodes = 10'000;  // also those that were forgotten and whose end is still told
    // How long a node may be silent before it is forgotten, and then how long that is told.
    std::chrono::seconds retention{std::chrono::hours(30 * 24)};
  };

  // `store` is not owned.
  static absl::StatusOr<std::unique_ptr<Registry>> Load(Store& store, const ClusterId& cluster,
                                                        Limits limits);

  enum class Verdict : uint8_t { kTaken, kUnchanged, kStale, kAddressTaken, kFull };
  struct Outcome {
    Verdict verdict = Verdict::kTaken;
    std::string detail;                                // of a refusal, for people
    const signal::v1::SignedRecord* newest = nullptr;  // kStale
  };
  // Takes a verified record. `wall` is seconds since 1970.
  Outcome Put(const NodeRecord& record, const signal::v1::SignedRecord& message, int64_t wall);
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
  uint64_t store_errors() const { return store_errors_; }
  const absl::Status& last_store_error() const { return last_store_error_; }

 private:
  struct Node {
    StoredNode stored;
    uint64_t sequence = 0;
    std::vector<IpAddress> addresses;
  };

  Registry(Store& store, const ClusterId& cluster, Limits limits)
      : store_(store), cluster_(cluster), limits_(limits) {}
  void Adopt(StoredNode stored);
  void Change(Node& node);
  void Hold(Node& node, std::vector<IpAddress> addresses);
  void Note(const absl::Status& written);

  Store& store_;
  const ClusterId cluster_;
  const Limits limits_;
  StoredCluster head_;  // without its nodes
  absl::flat_hash_map<NodeId, std::unique_ptr<Node>> nodes_;
  std::map<uint64_t, Node*> by_revision_;
  absl::flat_hash_map<IpAddress, NodeId> holders_;
  size_t forgotten_ = 0;
  uint64_t store_errors_ = 0;
  absl::Status last_store_error_;
};

}  // namespace omni
