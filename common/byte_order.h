// SPDX-License-Identifier: Apache-2.0
// Integers as they stand on the wire. The byte order is in the type, so that mixing two orders does
// not compile. Alignment 1: they can be members of wire structures and be laid over packet memory.
#pragma once

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace omni {

template <std::unsigned_integral T, std::endian Order>
class WireInt {
 public:
  WireInt() = default;
  explicit WireInt(T value) { Set(value); }

  T value() const {
    T raw;
    std::memcpy(&raw, bytes_.data(), sizeof(T));
    return Convert(raw);
  }
  void Set(T value) {
    const T raw = Convert(value);
    std::memcpy(bytes_.data(), &raw, sizeof(T));
  }
  friend bool operator==(const WireInt&, const WireInt&) = default;

 private:
  static constexpr T Convert(T v) {
    if constexpr (Order == std::endian::native) {
      return v;
    } else if constexpr (sizeof(T) == 2) {
      return __builtin_bswap16(v);
    } else if constexpr (sizeof(T) == 4) {
      return __builtin_bswap32(v);
    } else {
      static_assert(sizeof(T) == 8);
      return __builtin_bswap64(v);
    }
  }
  std::array<uint8_t, sizeof(T)> bytes_;
};

using Be16 = WireInt<uint16_t, std::endian::big>;
using Be32 = WireInt<uint32_t, std::endian::big>;
using Be64 = WireInt<uint64_t, std::endian::big>;
using Le16 = WireInt<uint16_t, std::endian::little>;
using Le32 = WireInt<uint32_t, std::endian::little>;
using Le64 = WireInt<uint64_t, std::endian::little>;

static_assert(sizeof(Be32) == 4 && alignof(Be32) == 1);

}  // namespace omni
