// SPDX-License-Identifier: Apache-2.0
#include "common/stun_id.h"

#include <sodium.h>

#include <algorithm>

namespace omni {
namespace {

// RFC 8489 section 5: type, length, magic cookie, transaction id.
constexpr size_t kCookieAt = 4;
constexpr size_t kIdAt = 8;
constexpr size_t kHeaderBytes = 20;
constexpr std::array<uint8_t, 4> kCookie = {0x21, 0x12, 0xA4, 0x42};
// The high bit of the class: success and error responses have it.
constexpr uint8_t kResponseBit = 0x01;  // of the first byte
constexpr size_t kRandomBytes = 4;
static_assert(kRandomBytes + crypto_shorthash_BYTES == std::tuple_size_v<StunId>);
static_assert(crypto_shorthash_KEYBYTES == std::tuple_size_v<StunKey>);

std::array<uint8_t, crypto_shorthash_BYTES> MacOf(std::span<const uint8_t> random,
                                                  const StunKey& key) {
  std::array<uint8_t, crypto_shorthash_BYTES> mac{};
  crypto_shorthash(mac.data(), random.data(), kRandomBytes, key.data());
  return mac;
}

}  // namespace

bool IsStun(std::span<const uint8_t> datagram) {
  return datagram.size() >= kHeaderBytes && datagram[0] <= 3 &&
         std::equal(kCookie.begin(), kCookie.end(), datagram.begin() + kCookieAt);
}

StunId NewStunId(const StunKey& key) {
  StunId id{};
  randombytes_buf(id.data(), kRandomBytes);
  std::ranges::copy(MacOf(id, key), id.begin() + kRandomBytes);
  return id;
}

bool IsStunResponseOf(std::span<const uint8_t> datagram, const StunKey& key) {
  if ((datagram[0] & kResponseBit) == 0) return false;
  const auto id = datagram.subspan(kIdAt, std::tuple_size_v<StunId>);
  const auto mac = MacOf(id, key);
  return sodium_memcmp(mac.data(), id.data() + kRandomBytes, mac.size()) == 0;
}

}  // namespace omni
