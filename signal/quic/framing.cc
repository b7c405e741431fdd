// SPDX-License-Identifier: Apache-2.0
#include "signal/quic/framing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "common/byte_order.h"
#include "common/encoding.h"
#include "common/status.h"

namespace omni::quic {

std::string Frame(std::string_view message) {
  Le32 length;
  length.Set(static_cast<uint32_t>(message.size()));
  std::string out(kLengthBytes + message.size(), '\0');
  std::memcpy(out.data(), &length, kLengthBytes);
  std::ranges::copy(message, out.begin() + kLengthBytes);
  return out;
}

absl::Status MessageReader::Append(std::span<const uint8_t> bytes,
                                   const std::function<void(std::string)>& take) {
  while (!bytes.empty()) {
    size_t wanted = kLengthBytes;
    if (pending_.size() >= kLengthBytes) {
      Le32 length;
      std::memcpy(&length, pending_.data(), kLengthBytes);
      wanted += length.value();
    }
    const size_t part = std::min(wanted - pending_.size(), bytes.size());
    pending_ += AsString(bytes.first(part));
    bytes = bytes.subspan(part);
    if (pending_.size() < wanted) return absl::OkStatus();
    if (wanted > kLengthBytes) {
      take(pending_.substr(kLengthBytes));
      pending_.clear();
      continue;
    }
    Le32 length;
    std::memcpy(&length, pending_.data(), kLengthBytes);
    if (length.value() == 0 || length.value() > max_bytes_) {
      return absl::InvalidArgumentError(
          fmt::format("a message of {} bytes; 1 to {} are taken", length.value(), max_bytes_));
    }
  }
  return absl::OkStatus();
}

}  // namespace omni::quic
