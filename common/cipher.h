// SPDX-License-Identifier: Apache-2.0
// Cipher: what session data can be sealed with. Both have 32-byte keys, 12-byte nonces and 16-byte
// tags, so that the layout on the wire is the same (docs/PROTOCOL.md). One word for each,
// everywhere: logs, API, metrics, configuration.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace omni {

enum class Cipher : uint8_t { kChaCha20Poly1305, kAes256Gcm };

inline constexpr std::array kAllCiphers = {Cipher::kChaCha20Poly1305, Cipher::kAes256Gcm};

constexpr std::string_view CipherName(Cipher cipher) {
  return cipher == Cipher::kAes256Gcm ? "aes-256-gcm" : "chacha20-poly1305";
}

}  // namespace omni
