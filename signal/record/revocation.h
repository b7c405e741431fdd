// SPDX-License-Identifier: Apache-2.0
// Revocation: a signed statement that a node is no member of its cluster any more, and the bounded
// list of those that hold. Only who has the cluster secret can make one; the cluster key checks it.
// The message and its rules are proto/omni/signal/v1. Plain values; a list belongs to one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/identity/cluster.h"
#include "common/node_id.h"
#include "omni/signal/v1/signal.pb.h"

namespace omni {

// LIMIT: proto/omni/signal/v1 names all of these.
inline constexpr size_t kMaxRevocationBytes = 512;
inline constexpr size_t kMaxReasonBytes = 200;
inline constexpr size_t kMaxRevocations = 1000;
inline constexpr size_t kMaxRevocationsInMessage = 16;

struct Revocation {
  ClusterId cluster;
  NodeId node;
  int64_t time = 0;    // seconds since 1970, for people
  std::string name;    // likewise; may be empty
  std::string reason;  // likewise
};

// What is wrong with a reason, or empty.
std::string CheckReason(std::string_view reason);

// `revocation.cluster` must be the keys'.
signal::v1::SignedRevocation Sign(const Revocation& revocation, const ClusterKeys& keys);

// By the one of `keys` whose cluster it names. INVALID_ARGUMENT says what is wrong.
absl::StatusOr<Revocation> Verify(const signal::v1::SignedRevocation& message,
                                  std::span<const ClusterKey> keys);

class RevocationList {
 public:
  struct Entry {
    Revocation revocation;
    signal::v1::SignedRevocation message;
  };
  // One statement for each secret that a node was excluded under.
  using Key = std::pair<NodeId, ClusterId>;
  enum class Verdict : uint8_t {
    kNew,
    kKnown,    // nothing changed
    kRefused,  // not signed by one of the keys, or malformed
    kFull,
  };
  struct Outcome {
    Verdict verdict = Verdict::kNew;
    std::string detail;            // of a refusal, for people
    const Entry* entry = nullptr;  // kNew, kKnown
  };

  explicit RevocationList(std::vector<ClusterKey> keys) : keys_(std::move(keys)) {}

  Outcome Take(const signal::v1::SignedRevocation& message);
  // Forgets what was signed under other secrets.
  void SetKeys(std::vector<ClusterKey> keys);
  // The first statement about the node. nullptr: it is not revoked.
  const Entry* Find(const NodeId& node) const;
  const std::map<Key, Entry>& entries() const { return entries_; }
  size_t size() const { return entries_.size(); }
  // Of the nodes that are revoked under one secret: equal where the same ones are.
  std::array<uint8_t, 16> DigestOf(const ClusterId& cluster) const;
  uint64_t refused() const { return refused_; }  // also those beyond the limit

 private:
  std::vector<ClusterKey> keys_;
  std::map<Key, Entry> entries_;
  uint64_t refused_ = 0;
};

}  // namespace omni
