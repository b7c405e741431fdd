// SPDX-License-Identifier: Apache-2.0
// Revocations: which nodes are no members any more, as this node knows it, kept on disk: a node
// that restarts without its Nucleus lets none of them in. Owned by the Controller, on the event
// loop.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "signal/record/revocation.h"

namespace omni {

class Revocations {
 public:
  // Without keys nothing is ever taken.
  Revocations(std::vector<ClusterKey> keys, std::string file)
      : list_(std::move(keys)), file_(std::move(file)) {}

  // The error names the file: one that cannot be read is no reason to let everybody in. Statements
  // that were signed under another secret are left out.
  absl::Status Load();
  absl::Status Save() const;
  // As of RevocationList.
  void SetKeys(std::vector<ClusterKey> keys) { list_.SetKeys(std::move(keys)); }
  // In memory: Save() is the caller's.
  RevocationList::Outcome Take(const signal::v1::SignedRevocation& message);

  const RevocationList& list() const { return list_; }
  const RevocationList::Entry* Find(const NodeId& node) const { return list_.Find(node); }

 private:
  RevocationList list_;
  const std::string file_;
};

}  // namespace omni
