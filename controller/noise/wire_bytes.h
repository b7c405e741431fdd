// SPDX-License-Identifier: Apache-2.0
// Between bytes of a datagram and the layouts of common/wire.h. Used by the engine.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "common/status.h"

namespace omni::noise {

// The message as its layout, when size, type and reserved bytes are right.
template <typename Message>
std::optional<Message> As(std::span<const uint8_t> datagram, uint8_t type) {
  if (datagram.size() != sizeof(Message)) return std::nullopt;
  Message message;
  std::memcpy(&message, datagram.data(), sizeof(message));
  constexpr std::array<uint8_t, 3> kZero{};
  if (message.type != type || message.reserved != kZero) return std::nullopt;
  return message;
}

template <typename Message>
std::vector<uint8_t> ToBytes(const Message& message) {
  std::vector<uint8_t> bytes(sizeof(message));
  std::memcpy(bytes.data(), &message, sizeof(message));
  return bytes;
}

template <size_t N>
std::array<uint8_t, N> ToArray(std::span<const uint8_t> from) {
  OMNI_CHECK(from.size() == N);
  std::array<uint8_t, N> to{};
  std::copy(from.begin(), from.end(), to.begin());
  return to;
}

}  // namespace omni::noise
