// SPDX-License-Identifier: Apache-2.0
#include "common/node_id.h"

#include <sodium.h>

#include <algorithm>

namespace omni {

NodeId NodeId::FromIdentityKey(std::span<const uint8_t, 32> ed25519_public) {
  constexpr std::string_view kLabel = "omninervous node id v1";
  crypto_generichash_state state;
  std::array<uint8_t, 32> hash{};
  crypto_generichash_init(&state, nullptr, 0, hash.size());
  crypto_generichash_update(&state, AsBytes(kLabel).data(), kLabel.size());
  crypto_generichash_update(&state, ed25519_public.data(), ed25519_public.size());
  crypto_generichash_final(&state, hash.data(), hash.size());
  NodeId id;
  std::copy_n(hash.begin(), id.bytes.size(), id.bytes.begin());
  return id;
}

std::optional<NodeId> NodeId::FromBytes(std::string_view raw) {
  NodeId id;
  if (raw.size() != id.bytes.size()) return std::nullopt;
  std::copy(raw.begin(), raw.end(), id.bytes.begin());
  return id;
}

std::optional<NodeId> NodeId::Parse(std::string_view text) {
  const auto raw = HexDecode(text);
  if (!raw) return std::nullopt;
  return FromBytes(AsString(*raw));
}

}  // namespace omni
