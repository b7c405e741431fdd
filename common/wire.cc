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

}  // namespace omni::wire
