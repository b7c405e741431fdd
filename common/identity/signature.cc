// SPDX-License-Identifier: Apache-2.0
#include "common/identity/signature.h"

#include <sodium.h>

#include <vector>

#include "common/encoding.h"

namespace omni {
namespace {

std::vector<uint8_t> Join(std::string_view label, std::span<const uint8_t> text) {
  std::vector<uint8_t> joined;
  joined.reserve(label.size() + text.size());
  const auto bytes = AsBytes(label);
  joined.insert(joined.end(), bytes.begin(), bytes.end());
  joined.insert(joined.end(), text.begin(), text.end());
  return joined;
}

}  // namespace

std::array<uint8_t, 64> SignLabelled(const Secret<64>& key, std::string_view label,
                                     std::span<const uint8_t> text) {
  const std::vector<uint8_t> joined = Join(label, text);
  std::array<uint8_t, 64> signature{};
  crypto_sign_detached(signature.data(), nullptr, joined.data(), joined.size(), key.data());
  return signature;
}

bool VerifyLabelled(std::span<const uint8_t, 32> public_key, std::string_view label,
                    std::span<const uint8_t> text, std::span<const uint8_t, 64> signature) {
  const std::vector<uint8_t> joined = Join(label, text);
  return crypto_sign_verify_detached(signature.data(), joined.data(), joined.size(),
                                     public_key.data()) == 0;
}

}  // namespace omni
