// SPDX-License-Identifier: Apache-2.0
#include "common/wire.h"

#include <sodium.h>

namespace omni::wire {

bool Mac1IsValid(std::span<const uint8_t> message, std::span<const uint8_t, 32> mac1_key) {
  if (message.size() < sizeof(Macs)) return false;
  const auto covered = message.first(message.size() - sizeof(Macs));
  std::array<uint8_t, kMacBytes> expected{};
  crypto_generichash(expected.data(), expected.size(), covered.data(), covered.size(),
                     mac1_key.data(), mac1_key.size());
  return sodium_memcmp(expected.data(), message.data() + covered.size(), kMacBytes) == 0;
}

bool BeaconIsAuthentic(std::span<const uint8_t> datagram, std::span<const uint8_t, 32> key) {
  if (datagram.size() != sizeof(Beacon)) return false;
  constexpr size_t kContentAt = offsetof(Beacon, encrypted_content);
  // Without a place for the plaintext, libsodium looks at the tag and no more.
  return crypto_aead_xchacha20poly1305_ietf_decrypt_detached(
             nullptr, nullptr, datagram.data() + kContentAt, sizeof(BeaconContent),
             datagram.data() + kContentAt + sizeof(BeaconContent), datagram.data(),
             offsetof(Beacon, nonce), datagram.data() + offsetof(Beacon, nonce), key.data()) == 0;
}

}  // namespace omni::wire
