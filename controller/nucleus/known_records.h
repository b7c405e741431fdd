// SPDX-License-Identifier: Apache-2.0
// KnownRecords: what a node has learned of the others from its Nucleus, verified, newest first by
// the nodes' own numbers. Takes deltas, says what changed. A Nucleus that lies is left standing:
// its forgeries are counted, older records than those known change nothing, and the number of nodes
// is bounded. Survives the loss of the Nucleus. Owned by NucleusClient.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "common/identity/cluster.h"
#include "common/node_id.h"
#include "omni/signal/v1/signal.pb.h"
#include "signal/record/record.h"

namespace omni {

class KnownRecords {
 public:
  struct Hooks {
    std::function<void(const NodeRecord&)> changed;
    // The Nucleus does not list the node any more, or never did after a restart of its registry.
    std::function<void(const NodeId&)> unlisted;
  };
  KnownRecords(const ClusterId& cluster, const NodeId& self, Hooks hooks)
      : cluster_(cluster), self_(self), hooks_(std::move(hooks)) {}

  void Apply(const signal::v1::Delta& delta);
  // All that is known, to be applied by a later process: in a form that says nothing of revisions.
  signal::v1::Delta Save() const;
  // Another connection begins: a list that was cut off is void.
  void OnReconnected() { listed_.clear(); }

  // Where the next connection may go on.
  uint64_t registry() const { return registry_; }
  uint64_t revision() const { return revision_; }
  size_t size() const { return known_.size(); }
  uint64_t refused() const { return refused_; }

 private:
  void Take(const signal::v1::SignedRecord& message);
  void Unlist(const NodeId& id);

  const ClusterId cluster_;
  const NodeId self_;
  const Hooks hooks_;
  struct Known {
    uint64_t sequence = 0;
    signal::v1::SignedRecord message;
  };
  absl::flat_hash_map<NodeId, Known> known_;
  std::set<NodeId> listed_;  // since the full list began
  bool listing_ = false;
  uint64_t registry_ = 0;
  uint64_t revision_ = 0;
  uint64_t refused_ = 0;
};

}  // namespace omni
