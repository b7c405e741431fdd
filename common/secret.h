// SPDX-License-Identifier: Apache-2.0
// Secret<N>: key material of N bytes. Zeroed in the destructor, not copyable by accident, not
// printable, compared in constant time. The one type in which a key is held in our own memory.
#pragma once

#include <sodium.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace omni {

template <size_t N>
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::span<const uint8_t, N> bytes) { Assign(bytes); }
  ~Secret() { sodium_memzero(bytes_.data(), N); }

  // Moving erases the source. A copy has to be asked for by name.
  Secret(Secret&& other) noexcept : bytes_(other.bytes_) { other.Erase(); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      bytes_ = other.bytes_;
      other.Erase();
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  Secret Clone() const { return Secret(bytes()); }

  void Assign(std::span<const uint8_t, N> bytes) {
    for (size_t i = 0; i < N; ++i) bytes_[i] = bytes[i];
  }
  void Erase() { sodium_memzero(bytes_.data(), N); }

  const uint8_t* data() const { return bytes_.data(); }
  uint8_t* mutable_data() { return bytes_.data(); }
  static constexpr size_t size() { return N; }
  std::span<const uint8_t, N> bytes() const { return std::span<const uint8_t, N>(bytes_); }

  friend bool operator==(const Secret& a, const Secret& b) {
    return sodium_memcmp(a.data(), b.data(), N) == 0;
  }

 private:
  // SAFETY: aligned, because ipsec-mb's key schedules must be 16-byte aligned and a key then never
  // straddles a cache line.
  alignas(N >= 32 ? 32 : 8) std::array<uint8_t, N> bytes_{};
};

using Key32 = Secret<32>;

}  // namespace omni
