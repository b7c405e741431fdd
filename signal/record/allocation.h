// SPDX-License-Identifier: Apache-2.0
// What a Nucleus may give a node as addresses of its own, checked: the network of an address
// becomes a route of the machine, and a Nucleus must not be able to draw traffic into the tunnel
// that does not belong there. The messages are proto/omni/signal/v1. Plain functions; any thread.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "common/ip.h"
#include "omni/signal/v1/signal.pb.h"

namespace omni {

// Whether all of it is for private use: RFC 1918, RFC 6598 (100.64.0.0/10), RFC 4193 (fc00::/7).
bool IsPrivateNetwork(const IpPrefix& network);

// LIMIT: proto/omni/signal/v1.
inline constexpr size_t kMaxWantedAddresses = 16;

// At most one of each family, each of a single machine in a private network. INVALID_ARGUMENT says
// which one is not.
absl::StatusOr<std::vector<InterfaceAddress>> ReadAllocated(const signal::v1::Allocated& message);
signal::v1::Allocated AllocatedMessage(const std::vector<InterfaceAddress>& addresses);

// Empty where the message breaks the rules.
absl::StatusOr<std::vector<IpAddress>> ReadWanted(const signal::v1::Allocate& message);

}  // namespace omni
