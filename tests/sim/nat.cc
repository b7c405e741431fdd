// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/nat.h"

namespace omni::sim {

std::string_view Name(NatKind kind) {
  switch (kind) {
    case NatKind::kFullCone:
      return "full-cone";
    case NatKind::kAddressRestricted:
      return "address-restricted";
    case NatKind::kPortRestricted:
      return "port-restricted";
    case NatKind::kSymmetric:
      return "symmetric";
  }
  return "unknown";
}

Endpoint Nat::Outward(const Endpoint& inner, const Endpoint& to) {
  const Endpoint depends_on = kind_ == NatKind::kSymmetric ? to : Endpoint();
  const auto [mapping, is_new] = outward_.try_emplace({inner, depends_on});
  if (is_new) {
    mapping->second = {.address = outer_, .port = next_port_++};
    inward_[mapping->second] = inner;
  }
  contacted_.insert({mapping->second, to});
  return mapping->second;
}

std::optional<Endpoint> Nat::Inward(const Endpoint& from, const Endpoint& outer) const {
  const auto mapping = inward_.find(outer);
  if (mapping == inward_.end()) return std::nullopt;
  if (kind_ == NatKind::kFullCone) return mapping->second;
  for (const auto& [mapped, to] : contacted_) {
    const bool same =
        kind_ == NatKind::kAddressRestricted ? to.address == from.address : to == from;
    if (mapped == outer && same) return mapping->second;
  }
  return std::nullopt;
}

}  // namespace omni::sim
