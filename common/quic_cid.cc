// SPDX-License-Identifier: Apache-2.0
#include "common/quic_cid.h"

#include <sodium.h>

#include <algorithm>

namespace omni {
namespace {

constexpr size_t kRandomBytes = 8;
static_assert(kRandomBytes + crypto_shorthash_BYTES == kQuicCidBytes);
static_assert(crypto_shorthash_KEYBYTES == std::tuple_size_v<QuicCidKey>);

std::array<uint8_t, crypto_shorthash_BYTES> MacOf(std::span<const uint8_t> random,
                                                  const QuicCidKey& key) {
  std::array<uint8_t, crypto_shorthash_BYTES> mac{};
  crypto_shorthash(mac.data(), random.data(), kRandomBytes, key.data());
  return mac;
}

// Empty unless the destination connection id has the length of ours (RFC 8999 section 5).
std::span<const uint8_t> DestinationOf(std::span<const uint8_t> datagram) {
  const bool is_long = (datagram[0] & 0x80U) != 0;
  constexpr size_t kLengthAt = 5;  // of the connection id, after the version
  const size_t begin = is_long ? kLengthAt + 1 : 1;
  if (datagram.size() < begin + kQuicCidBytes) return {};
  if (is_long && datagram[kLengthAt] != kQuicCidBytes) return {};
  return datagram.subspan(begin, kQuicCidBytes);
}

}  // namespace

QuicCid NewQuicCid(const QuicCidKey& key) {
  QuicCid cid{};
  randombytes_buf(cid.data(), kRandomBytes);
  std::ranges::copy(MacOf(cid, key), cid.begin() + kRandomBytes);
  return cid;
}

bool HasQuicCidOf(std::span<const uint8_t> datagram, const QuicCidKey& key) {
  if (datagram.empty()) return false;
  const auto cid = DestinationOf(datagram);
  if (cid.empty()) return false;
  const auto mac = MacOf(cid, key);
  return sodium_memcmp(mac.data(), cid.data() + kRandomBytes, mac.size()) == 0;
}

}  // namespace omni
