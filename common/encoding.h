// SPDX-License-Identifier: Apache-2.0
// Bytes as text: lower-case hex, and base64 without padding in the URL-safe alphabet (keys can be
// double-clicked and put into file names and URLs). Decoding is strict: one text for one value.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace omni {

std::string HexEncode(std::span<const uint8_t> bytes);
std::optional<std::vector<uint8_t>> HexDecode(std::string_view text);

std::string Base64Encode(std::span<const uint8_t> bytes);
std::optional<std::vector<uint8_t>> Base64Decode(std::string_view text);

// A protobuf bytes field as bytes, and back.
inline std::span<const uint8_t> AsBytes(std::string_view s) {
  // SAFETY: char and unsigned char may alias.
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}
inline std::string AsString(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace omni
