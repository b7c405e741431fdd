// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/checksum.h"

#include <array>

#include "common/byte_order.h"

namespace omni {

uint64_t ChecksumAdd(std::span<const uint8_t> bytes, uint64_t sum) {
  const uint8_t* at = bytes.data();
  size_t left = bytes.size();
  // 32-bit loads into 64-bit sums: no carry is lost before 2^32 of them, and the compiler
  // vectorises the loop.
  uint64_t lanes[4] = {sum, 0, 0, 0};
  for (; left >= 16; at += 16, left -= 16) {
    std::array<uint32_t, 4> words;
    std::memcpy(words.data(), at, 16);
    for (size_t i = 0; i < 4; ++i) lanes[i] += words[i];
  }
  sum = 0;
  for (const uint64_t lane : lanes) {
    sum += lane;
    sum += sum < lane ? 1 : 0;
  }
  for (; left >= 2; at += 2, left -= 2) sum += LoadWord(at);
  if (left == 1) {
    const std::array<uint8_t, 2> last = {*at, 0};
    sum += LoadWord(last.data());
  }
  return sum;
}

uint64_t PseudoHeaderSum(std::span<const uint8_t> addresses, uint8_t protocol, uint32_t length) {
  struct {
    Be32 length;
    Be32 protocol;
  } tail = {Be32(length), Be32(protocol)};
  std::array<uint8_t, sizeof(tail)> raw;
  std::memcpy(raw.data(), &tail, sizeof(tail));
  return ChecksumAdd(raw, ChecksumAdd(addresses));
}

}  // namespace omni
