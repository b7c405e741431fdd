// SPDX-License-Identifier: Apache-2.0
// Ed25519 over a label and a text. A label keeps a signature that was made for one purpose from
// being taken for another; no label is the beginning of another one. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/secret.h"

namespace omni {

// `key` as libsodium keeps it: seed, then public key.
std::array<uint8_t, 64> SignLabelled(const Secret<64>& key, std::string_view label,
                                     std::span<const uint8_t> text);
bool VerifyLabelled(std::span<const uint8_t, 32> public_key, std::string_view label,
                    std::span<const uint8_t> text, std::span<const uint8_t, 64> signature);

}  // namespace omni
