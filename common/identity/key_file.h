// SPDX-License-Identifier: Apache-2.0
// The text of the two key files. Strict: one text for one value, with a checksum, so that a
// truncated or edited file is noticed. Syntax only; whether the keys belong together is checked by
// Identity. Errors do not name the file: the caller does.
//
//   omninervous identity key v1        omninervous static key v1
//   private BASE64(32)                 private BASE64(32)
//   public BASE64(32)                  public BASE64(32)
//   checksum HEX(16)                   signature BASE64(64), then the checksum
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/secret.h"

namespace omni {

// LIMIT: the longer of the two files has 281 bytes.
inline constexpr size_t kMaxKeyFileBytes = 512;

struct IdentityKeyFile {
  Secret<32> seed;  // of the Ed25519 key pair (RFC 8032)
  std::array<uint8_t, 32> public_key{};
};

struct StaticKeyFile {
  Key32 private_key;
  std::array<uint8_t, 32> public_key{};
  std::array<uint8_t, 64> signature{};  // by the identity, over a label and public_key
};

// The text holds a private key: erase it with EraseText() when it is written.
std::string Format(const IdentityKeyFile& file);
std::string Format(const StaticKeyFile& file);

absl::StatusOr<IdentityKeyFile> ParseIdentityKeyFile(std::string_view text);
absl::StatusOr<StaticKeyFile> ParseStaticKeyFile(std::string_view text);

void EraseText(std::string& text);

}  // namespace omni
