// SPDX-License-Identifier: Apache-2.0
// The two proofs of a registration, bound to one TLS connection by its exported key E: the Nucleus
// shows that it has the cluster key, the node that it has the cluster secret. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/identity/cluster.h"
#include "common/node_id.h"

namespace omni {

// Label of the exporter (RFC 8446 section 7.5).
inline constexpr std::string_view kExporterLabel = "omninervous signal v1";
using ExportedKey = std::array<uint8_t, 32>;

std::string NucleusProof(const ClusterKey& cluster, const ExportedKey& exported);
bool IsNucleusProof(std::string_view proof, const ClusterKey& cluster, const ExportedKey& exported);

std::string MembershipProof(const ClusterKeys& cluster, const ExportedKey& exported,
                            const NodeId& node);
bool IsMembershipProof(std::string_view proof, const ClusterKey& cluster,
                       const ExportedKey& exported, const NodeId& node);

}  // namespace omni
