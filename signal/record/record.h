// SPDX-License-Identifier: Apache-2.0
// NodeRecord: what a node says about itself, as a value that has been checked: whoever holds one
// knows that its node signed it, for this cluster, and that all of it is well-formed. The message
// and its rules are proto/omni/signal/v1. Plain values; any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/identity/cluster.h"
#include "common/identity/identity.h"
#include "common/ip.h"
#include "omni/signal/v1/signal.pb.h"

namespace omni {

// LIMIT: proto/omni/signal/v1 names all of these.
inline constexpr size_t kMaxRecordBytes = 4096;
inline constexpr size_t kMaxRecordAddresses = 16;
inline constexpr size_t kMaxRecordRoutes = 64;
inline constexpr size_t kMaxRecordCandidates = 16;
inline constexpr size_t kMaxRecordCapabilities = 32;
inline constexpr size_t kMaxRecordAccepted = 3;
inline constexpr char kSignalProtocol[] = "omni-signal/1";
// The capability of a node that relays between its peers.
inline constexpr char kRelayCapability[] = "relay";

enum class CandidateKind : uint8_t { kHost, kServerReflexive };

struct Candidate {
  CandidateKind kind = CandidateKind::kHost;
  Endpoint endpoint;
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

// Of a node whose NAT maps each destination anew, in IPv4: where servers see it others do not reach
// it.
inline constexpr char kHardNat[] = "hard-nat";

// Whether others can be told to send there: of a single machine, and not only valid on its own
// link.
bool IsCandidateAddress(const IpAddress& address);

struct NodeRecord {
  ClusterId cluster;                  // of the secret that the node uses
  std::vector<ClusterId> accepted{};  // of others that it takes
  PeerKey key;
  uint64_t sequence = 0;
  std::string name;
  std::vector<IpAddress> addresses;
  std::vector<IpPrefix> routes;
  std::vector<Candidate> candidates;
  std::vector<std::string> capabilities;

  const NodeId& id() const { return key.node_id(); }
  bool Holds(const ClusterId& id) const {
    return cluster == id || std::find(accepted.begin(), accepted.end(), id) != accepted.end();
  }
  bool Can(std::string_view capability) const {
    return std::find(capabilities.begin(), capabilities.end(), capability) != capabilities.end();
  }
};

// Also for the configuration: 1-63 of a-z, 0-9 and -.
bool IsNodeName(std::string_view name);

// `record.key` must be the identity's.
signal::v1::SignedRecord Sign(const NodeRecord& record, const Identity& identity);

// For a reader of any of `clusters`. INVALID_ARGUMENT says what is wrong, first of all the
// signature.
absl::StatusOr<NodeRecord> Verify(const signal::v1::SignedRecord& message,
                                  std::span<const ClusterId> clusters);
inline absl::StatusOr<NodeRecord> Verify(const signal::v1::SignedRecord& message,
                                         const ClusterId& cluster) {
  return Verify(message, {&cluster, 1});
}

}  // namespace omni
