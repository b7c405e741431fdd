// SPDX-License-Identifier: Apache-2.0
// KnownRecords: what a node has learned of the others from its Nucleus, verified, newest first by
// the nodes' own numbers. Takes deltas, says what changed. A Nucleus that lies is left standing:
// its forgeries are counted, older records than those known change nothing, and the number of nodes
// is bounded. What nodes themselves show is taken by the same rules, and forgotten when they were
// not seen for a month. Survives the loss of the Nucleus. Owned by NucleusClient.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/clock.h"
#include "common/identity/cluster.h"
#include "common/node_id.h"
#include "omni/signal/v1/mesh.pb.h"
#include "omni/signal/v1/signal.pb.h"
#include "signal/record/record.h"
#include "signal/record/revocation.h"

namespace omni {

class KnownRecords {
 public:
  struct Hooks {
    std::function<void(const NodeRecord&)> changed;
    // The Nucleus does not list the node any more, or never did after a restart of its registry.
    std::function<void(const NodeId&)> unlisted;
    // A revocation, as it came. Gives what it is if it is sound, whether it is new or not.
    std::function<std::optional<RevocationList::Key>(const signal::v1::SignedRevocation&)> revoked =
        [](const auto&) { return std::nullopt; };
    std::function<bool(const NodeId&)> is_revoked = [](const NodeId&) { return false; };
  };
  // LIMIT: nodes that other nodes alone have told of: a large hall without a Nucleus. A member can
  // make up as many.
  static constexpr size_t kMaxFromNodes = 4096;
  // LIMIT: of a node that no Nucleus has listed, and so none takes away: a machine that is gone, or
  // has another identity. Longer than a factory's holidays.
  static constexpr Duration kForgetAfter = std::chrono::hours(30 * 24);
  // LIMIT: counted of the time between two processes, which the machine's clock alone tells: one
  // that is years ahead for an hour must not make the node forget everybody.
  static constexpr Duration kMostBetween = std::chrono::hours(7 * 24);

  KnownRecords(std::vector<ClusterId> clusters, const NodeId& self, Hooks hooks,
               size_t max_from_nodes = kMaxFromNodes)
      : clusters_(std::move(clusters)),
        self_(self),
        hooks_(std::move(hooks)),
        max_from_nodes_(max_from_nodes) {}

  // Of the secrets that this node holds. Records that are none of theirs any more stay until the
  // Nucleus forgets their nodes, too. True: records were refused that may be sound now, and the
  // next connection begins from the beginning.
  bool SetClusters(std::vector<ClusterId> clusters);

  void Apply(const signal::v1::Delta& delta);
  // A record that a node has shown, its own or another's. Whether it is news. The Nucleus has not
  // listed it by that.
  bool Learn(const signal::v1::SignedRecord& message, Instant now);
  // The node was heard, or talked to.
  void Saw(const NodeId& id, Instant now);
  // Those of nodes that were not, for too long. How many nodes are left that no Nucleus has listed.
  size_t ForgetUnseen(Instant now);
  struct Known {
    uint64_t sequence = 0;
    signal::v1::SignedRecord message;
    bool by_nucleus = false;  // ever
    Instant seen;             // by nodes or in sessions; of old, before this process began
  };
  const Known* Find(const NodeId& id) const;
  // All that is known, to be applied by a later process: in a form that says nothing of revisions.
  // A serialized SavedRecords. `wall_s`: seconds since 1970.
  std::string Save(Instant now, int64_t wall_s) const;
  void Restore(const signal::v1::SavedRecords& saved, Instant now, int64_t wall_s);
  // Nothing of the node is worth knowing any more.
  void Drop(const NodeId& id);
  bool HasToldRevocation(const RevocationList::Key& key) const { return told_.contains(key); }
  // Another connection begins: a list that was cut off is void.
  void OnReconnected() { listed_.clear(); }

  // Where the next connection may go on.
  uint64_t registry() const { return registry_; }
  uint64_t revision() const { return revision_; }
  size_t size() const { return known_.size(); }
  uint64_t refused() const { return refused_; }

 private:
  enum class Source : uint8_t { kNucleus, kNode };
  bool Take(const signal::v1::SignedRecord& message, Source source, Instant seen);
  void Unlist(const NodeId& id);

  std::vector<ClusterId> clusters_;
  const NodeId self_;
  const Hooks hooks_;
  const size_t max_from_nodes_;
  absl::flat_hash_map<NodeId, Known> known_;
  size_t from_nodes_ = 0;               // of these, which no Nucleus ever listed
  std::set<NodeId> listed_;             // since the full list began
  std::set<RevocationList::Key> told_;  // revocations. LIMIT: those that the node holds
  bool listing_ = false;
  bool missed_ = false;  // a record was refused since then
  uint64_t registry_ = 0;
  uint64_t revision_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace omni
