// SPDX-License-Identifier: Apache-2.0
#include "common/knock.h"

#include <sodium.h>

namespace omni {

Knock KnockOn(std::span<const uint8_t> datagram, const KnockKey& key) {
  Knock knock{};
  crypto_generichash(knock.data(), knock.size(), datagram.data(), datagram.size(), key.data(),
                     key.size());
  return knock;
}

bool HasKnock(std::span<const uint8_t> datagram, const KnockKey& key) {
  if (datagram.size() < kKnockBytes) return false;
  const auto covered = datagram.first(datagram.size() - kKnockBytes);
  const Knock expected = KnockOn(covered, key);
  return sodium_memcmp(expected.data(), datagram.data() + covered.size(), kKnockBytes) == 0;
}

}  // namespace omni
