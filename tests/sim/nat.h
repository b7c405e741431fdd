// SPDX-License-Identifier: Apache-2.0
// Nat: a NAT router of the simulator, in the kinds of RFC 3489, for one machine behind it. It has
// no hairpin, and mappings that do not age: what ages is asked of the lab's NATs. Owned by Network.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>

#include "common/ip.h"

namespace omni::sim {

enum class NatKind : uint8_t { kFullCone, kAddressRestricted, kPortRestricted, kSymmetric };

std::string_view Name(NatKind kind);

class Nat {
 public:
  Nat(NatKind kind, const IpAddress& outer) : kind_(kind), outer_(outer) {}

  const IpAddress& outer() const { return outer_; }
  // The source that a datagram from inside gets.
  Endpoint Outward(const Endpoint& inner, const Endpoint& to);
  // Where inside a datagram from the internet goes; nowhere when it is filtered.
  std::optional<Endpoint> Inward(const Endpoint& from, const Endpoint& outer) const;

 private:
  const NatKind kind_;
  const IpAddress outer_;
  uint16_t next_port_ = 20'000;
  std::map<std::tuple<Endpoint, Endpoint>, Endpoint> outward_;  // inner, to (if it matters)
  std::map<Endpoint, Endpoint> inward_;
  std::set<std::tuple<Endpoint, Endpoint>> contacted_;  // outer, to
};

}  // namespace omni::sim
