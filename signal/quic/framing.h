// SPDX-License-Identifier: Apache-2.0
// Messages on a stream: a length of four bytes, little endian, then as many bytes. MessageReader
// takes the stream as it comes and gives whole messages. Holds one message at most; a length of
// zero or beyond the limit ends it for good. Owned by a connection.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace omni::quic {

inline constexpr size_t kLengthBytes = 4;

std::string Frame(std::string_view message);

class MessageReader {
 public:
  explicit MessageReader(size_t max_message_bytes) : max_bytes_(max_message_bytes) {}

  // Calls `take` for each message that is whole now. INVALID_ARGUMENT for a length out of bounds.
  absl::Status Append(std::span<const uint8_t> bytes, const std::function<void(std::string)>& take);

 private:
  size_t max_bytes_;
  std::string pending_;  // a length, or a part of it, and a part of its message
};

}  // namespace omni::quic
