// SPDX-License-Identifier: Apache-2.0
// DSCP and ECN across the tunnel (RFC 6040, normal mode). Sending, the whole traffic class is
// copied outward. Receiving, the inner DSCP stays and a congestion mark of the path is merged into
// the inner ECN field.
#pragma once

#include <cstdint>
#include <optional>

namespace omni {

enum Ecn : uint8_t { kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3 };
inline constexpr uint8_t kEcnMask = 3;

// The inner traffic class after decapsulation; empty when the packet must be dropped: the path
// marked congestion on a packet whose sender would not understand it (RFC 6040 section 4.2, figure
// 4).
inline std::optional<uint8_t> DecapsulateEcn(uint8_t inner_class, uint8_t outer_class) {
  const uint8_t inner = inner_class & kEcnMask;
  const uint8_t outer = outer_class & kEcnMask;
  if (outer == kCe) {
    if (inner == kNotEct) return std::nullopt;
    return static_cast<uint8_t>(inner_class | kCe);
  }
  if (outer == kEct1 && inner == kEct0) {
    return static_cast<uint8_t>((inner_class & ~kEcnMask) | kEct1);
  }
  return inner_class;
}

}  // namespace omni
