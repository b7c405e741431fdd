// SPDX-License-Identifier: Apache-2.0
// Beacon: what a node says on its links to who shares its cluster secret: who it is, where, and how
// new its record is; signed, so that no other member can say it. To everybody else it is 180 bytes
// of noise. It names the address that it is sent from, so that it is worth nothing when somebody
// sends it again from elsewhere. Plain values; docs/SIGNALING.md section 11.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/identity/identity.h"
#include "common/ip.h"
#include "common/node_id.h"
#include "common/secret.h"

namespace omni {

struct Beacon {
  NodeId id;
  Endpoint from;          // without a scope: to each side its own interface index
  uint64_t sequence = 0;  // of its record; 0: it has none yet
  uint64_t stamp = 0;     // greater with each beacon of the node
  friend bool operator==(const Beacon&, const Beacon&) = default;
};

// `beacon.id` is the identity's, whatever stands there.
std::vector<uint8_t> SealBeacon(const Beacon& beacon, const Identity& identity, const Key32& key);
// Empty unless a member made it, the node itself signed it, and all of it is well-formed. That it
// comes from where it says is for the caller to see.
std::optional<Beacon> OpenBeacon(std::span<const uint8_t> datagram, const Key32& key);

}  // namespace omni
