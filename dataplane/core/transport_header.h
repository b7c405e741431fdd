// SPDX-License-Identifier: Apache-2.0
// Where the fields of IP, TCP and UDP headers stand that Segmenter and Coalescer read and write.
// Private to dataplane/core.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/byte_order.h"

namespace omni {

inline constexpr size_t kIpv4Header = 20;
inline constexpr size_t kIpv6Header = 40;
inline constexpr size_t kUdpHeader = 8;
inline constexpr size_t kUdpLength = 4;
inline constexpr size_t kUdpChecksum = 6;
inline constexpr size_t kTcpHeader = 20;
inline constexpr size_t kTcpSequence = 4;
inline constexpr size_t kTcpFlags = 13;
inline constexpr size_t kTcpChecksum = 16;
inline constexpr uint8_t kTcpFin = 0x01;
inline constexpr uint8_t kTcpSyn = 0x02;
inline constexpr uint8_t kTcpRst = 0x04;
inline constexpr uint8_t kTcpPsh = 0x08;
inline constexpr uint8_t kTcpAck = 0x10;
inline constexpr uint8_t kTcpUrg = 0x20;
inline constexpr uint8_t kTcpCwr = 0x80;

// The number at `at`, in the byte order of T (Be16, Be32).
template <typename T>
auto LoadField(const uint8_t* at) {
  T out;
  std::memcpy(&out, at, sizeof(out));
  return out.value();
}
template <typename T, typename V>
void StoreField(uint8_t* at, V value) {
  const T wire(value);
  std::memcpy(at, &wire, sizeof(wire));
}

}  // namespace omni
