// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/checksum.h"

#include <array>
#include <bit>

#include "common/byte_order.h"

namespace omni {

namespace {

// Four 64-bit numbers at once, as each instruction set can.
using Lanes [[gnu::vector_size(32)]] = uint64_t;
constexpr size_t kBlock = sizeof(Lanes);

// Even and odd 32-bit words into 64-bit sums: no carry is lost. Inlined into each of the functions
// below, so that it is built for each instruction set.
[[gnu::always_inline]] inline uint64_t SumBlocks(const uint8_t* at, size_t blocks) {
  Lanes even{};
  Lanes odd{};
  for (; blocks > 0; --blocks, at += kBlock) {
    Lanes words;
    std::memcpy(&words, at, kBlock);
    even += words & 0xffffffff;
    odd += words >> 32;
  }
  even += odd;
  return even[0] + even[1] + even[2] + even[3];
}

uint64_t SumBlocksPlain(const uint8_t* at, size_t blocks) { return SumBlocks(at, blocks); }

#ifdef __x86_64__
[[gnu::target("avx2")]] uint64_t SumBlocksAvx2(const uint8_t* at, size_t blocks) {
  return SumBlocks(at, blocks);
}
const bool have_avx2 = __builtin_cpu_supports("avx2") != 0;
#endif

uint64_t SumManyBlocks(const uint8_t* at, size_t blocks) {
#ifdef __x86_64__
  if (have_avx2) return SumBlocksAvx2(at, blocks);
#endif
  return SumBlocksPlain(at, blocks);
}

}  // namespace

uint64_t ChecksumAdd(std::span<const uint8_t> bytes, uint64_t sum) {
  const uint8_t* at = bytes.data();
  size_t left = bytes.size();
  if (left >= 3 * kBlock) {  // a header alone is not worth the set-up
    sum += SumManyBlocks(at, left / kBlock);
    at += left / kBlock * kBlock;
    left %= kBlock;
  }
  for (; left >= 4; at += 4, left -= 4) {
    uint32_t word;
    std::memcpy(&word, at, sizeof(word));
    sum += word;
  }
  if (left >= 2) {
    sum += LoadWord(at);
    at += 2;
    left -= 2;
  }
  if (left == 1) {
    const std::array<uint8_t, 2> last = {*at, 0};
    sum += LoadWord(last.data());
  }
  return sum;
}

uint64_t PseudoHeaderSum(std::span<const uint8_t> addresses, uint8_t protocol, uint32_t length) {
  const auto raw = std::bit_cast<std::array<uint32_t, 2>>(std::array{Be32(length), Be32(protocol)});
  return ChecksumAdd(addresses, uint64_t{raw[0]} + raw[1]);
}

}  // namespace omni
