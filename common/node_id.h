// SPDX-License-Identifier: Apache-2.0
// NodeId: the name of a machine that nobody else can take: the first 16 bytes of BLAKE2b-256 over a
// label and the machine's Ed25519 identity key. Written as 32 hex digits.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/encoding.h"

namespace omni {

struct NodeId {
  std::array<uint8_t, 16> bytes{};

  static NodeId FromIdentityKey(std::span<const uint8_t, 32> ed25519_public);
  // Empty unless `raw` has 16 bytes.
  static std::optional<NodeId> FromBytes(std::string_view raw);
  // Empty unless `text` is 32 lower-case hex digits.
  static std::optional<NodeId> Parse(std::string_view text);

  std::string ToString() const { return HexEncode(bytes); }
  std::string ToBytes() const { return AsString(bytes); }

  friend auto operator<=>(const NodeId&, const NodeId&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const NodeId& id) {
    return H::combine(std::move(h), id.bytes);
  }
};

}  // namespace omni
