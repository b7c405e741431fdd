// SPDX-License-Identifier: Apache-2.0
#include "signal/stun/mapping.h"

#include <algorithm>

namespace omni::stun {

Mapping Classify(std::span<const Observation> observations, std::span<const Endpoint> own) {
  const auto is_own = [&](const Observation& o) {
    return std::find(own.begin(), own.end(), o.mapped) != own.end();
  };
  bool compared = false;
  bool addresses_compared = false;
  bool differs = false;
  for (size_t i = 0; i < observations.size(); ++i) {
    for (size_t j = i + 1; j < observations.size(); ++j) {
      const Observation& a = observations[i];
      const Observation& b = observations[j];
      if (a.server == b.server) continue;
      compared = true;
      const bool same_address = a.server.address == b.server.address;
      if (!same_address) addresses_compared = true;
      if (a.mapped == b.mapped) continue;
      if (same_address) return Mapping::kAddressAndPortDependent;
      differs = true;
    }
  }
  if (differs) return Mapping::kAddressDependent;
  // One server suffices to see that there is nothing in between.
  if (!observations.empty() && std::all_of(observations.begin(), observations.end(), is_own)) {
    return Mapping::kNone;
  }
  if (!compared) return Mapping::kUnknown;
  return addresses_compared ? Mapping::kEndpointIndependent : Mapping::kPortIndependent;
}

std::string_view Name(Mapping mapping) {
  switch (mapping) {
    case Mapping::kUnknown:
      return "unknown";
    case Mapping::kNone:
      return "none";
    case Mapping::kPortIndependent:
      return "port-independent";
    case Mapping::kEndpointIndependent:
      return "endpoint-independent";
    case Mapping::kAddressDependent:
      return "address-dependent";
    case Mapping::kAddressAndPortDependent:
      return "address and port-dependent";
  }
  return "unknown";
}

}  // namespace omni::stun
