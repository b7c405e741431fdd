// SPDX-License-Identifier: Apache-2.0
// How the NAT before us maps one socket of ours towards different destinations (RFC 4787 section
// 4.1, tested as RFC 5780 section 4.3): decides whether another machine can reach us where a server
// sees us. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "common/ip.h"

namespace omni::stun {

// Where one server saw us.
struct Observation {
  Endpoint server;
  Endpoint mapped;
  friend bool operator==(const Observation&, const Observation&) = default;
};

enum class Mapping : uint8_t {
  kUnknown,  // fewer than two observations
  kNone,     // seen at an address of our own, by each: no NAT
  // The same for two ports of one address. Whether for two addresses nobody has tested; NATs that
  // tell addresses apart and ports not are rare.
  kPortIndependent,
  kEndpointIndependent,  // the same for two addresses
  kAddressDependent,  // differs between addresses, not between ports of one, if those were tested
  kAddressAndPortDependent,  // differs between ports of one address
};

// Whether the mapping that servers see is, as far as is known, the one that a peer meets.
constexpr bool IsPredictable(Mapping mapping) {
  return mapping == Mapping::kNone || mapping == Mapping::kPortIndependent ||
         mapping == Mapping::kEndpointIndependent;
}

// Of observations of one socket and one address family. `own`: where the socket is, as the machine
// itself knows it.
Mapping Classify(std::span<const Observation> observations, std::span<const Endpoint> own);

// "endpoint-independent".
std::string_view Name(Mapping mapping);

}  // namespace omni::stun
