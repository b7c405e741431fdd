// SPDX-License-Identifier: Apache-2.0
// The internet checksum (RFC 1071) and its incremental update (RFC 1624). Sums are kept in host
// order over 16-bit words as they lie in memory, which makes the result right on either byte order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace omni {

// Ones' complement sum of `bytes` added to `sum`, not folded. An odd last byte counts as if a zero
// followed it. A sum of less than 2^16 bytes stays below 2^46: sums may be added up without care.
uint64_t ChecksumAdd(std::span<const uint8_t> bytes, uint64_t sum = 0);

// Folds a sum to 16 bits, in memory order. Not complemented.
inline uint16_t ChecksumFold(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(sum);
}

// The checksum field for a sum, in memory order.
inline uint16_t ChecksumFinish(uint64_t sum) { return static_cast<uint16_t>(~ChecksumFold(sum)); }

// Sum of the TCP/UDP pseudo header: `addresses` is source and destination as they lie in the IP
// header (8 or 32 bytes).
uint64_t PseudoHeaderSum(std::span<const uint8_t> addresses, uint8_t protocol, uint32_t length);

// A checksum field (memory order) after one 16-bit word under it changed (memory order; RFC 1624
// equation 3).
inline uint16_t ChecksumUpdate(uint16_t field, uint16_t old_word, uint16_t new_word) {
  const uint64_t sum =
      uint64_t{static_cast<uint16_t>(~field)} + static_cast<uint16_t>(~old_word) + new_word;
  return ChecksumFinish(sum);
}

inline uint16_t LoadWord(const uint8_t* at) {
  uint16_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}
inline void StoreWord(uint8_t* at, uint16_t word) { std::memcpy(at, &word, sizeof(word)); }

}  // namespace omni
