// SPDX-License-Identifier: Apache-2.0
#include "signal/beacon/beacon.h"

#include <sodium.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "common/identity/signature.h"
#include "common/wire.h"

namespace omni {
namespace {

constexpr std::string_view kLabel = "omninervous beacon v1";
constexpr uint8_t kBeaconType = 8;  // OMNI_MSG_BEACON of bpf/abi.h
constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::span<const uint8_t> HeadOf(const wire::Beacon& message) {
  // SAFETY: of alignment 1 and without padding; the four bytes before the nonce.
  return {reinterpret_cast<const uint8_t*>(&message), offsetof(wire::Beacon, nonce)};
}

std::span<const uint8_t> SignedPartOf(const wire::BeaconContent& content) {
  // SAFETY: likewise.
  return {reinterpret_cast<const uint8_t*>(&content), offsetof(wire::BeaconContent, signature)};
}

std::array<uint8_t, 16> WriteAddress(const IpAddress& address) {
  if (!address.is_v4()) return address.bytes;
  std::array<uint8_t, 16> out{};
  std::ranges::copy(address.raw(), std::ranges::copy(kMapped, out.begin()).out);
  return out;
}

}  // namespace

std::vector<uint8_t> SealBeacon(const Beacon& beacon, const Identity& identity, const Key32& key) {
  wire::BeaconContent content{};
  content.identity = identity.public_key().identity_public();
  content.address = WriteAddress(beacon.from.address);
  content.port.Set(beacon.from.port);
  content.sequence.Set(beacon.sequence);
  content.stamp.Set(beacon.stamp);
  content.signature = identity.Sign(kLabel, SignedPartOf(content));
  wire::Beacon message{};
  message.type = kBeaconType;
  randombytes_buf(message.nonce.data(), message.nonce.size());
  const auto head = HeadOf(message);
  // SAFETY: of alignment 1 and without padding.
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      message.encrypted_content.data(), nullptr, reinterpret_cast<const uint8_t*>(&content),
      sizeof(content), head.data(), head.size(), nullptr, message.nonce.data(), key.data());
  std::vector<uint8_t> out(sizeof(message));
  std::memcpy(out.data(), &message, sizeof(message));
  return out;
}

std::optional<Beacon> OpenBeacon(std::span<const uint8_t> datagram, const Key32& key) {
  if (datagram.size() != sizeof(wire::Beacon) || datagram[0] != kBeaconType) return std::nullopt;
  wire::Beacon message;
  std::memcpy(&message, datagram.data(), sizeof(message));
  wire::BeaconContent content;
  const auto head = HeadOf(message);
  // SAFETY: of alignment 1 and without padding.
  if (crypto_aead_xchacha20poly1305_ietf_decrypt(
          reinterpret_cast<uint8_t*>(&content), nullptr, nullptr, message.encrypted_content.data(),
          message.encrypted_content.size(), head.data(), head.size(), message.nonce.data(),
          key.data()) != 0) {
    return std::nullopt;
  }
  const auto is_zero = [](uint8_t byte) { return byte == 0; };
  const auto address = IpAddress::FromBytes(content.address);
  if (!address || content.port.value() == 0 || content.stamp.value() == 0 ||
      !std::ranges::all_of(message.reserved, is_zero) ||
      !std::ranges::all_of(content.reserved, is_zero) ||
      !VerifyLabelled(content.identity, kLabel, SignedPartOf(content), content.signature)) {
    return std::nullopt;
  }
  Beacon out;
  out.id = NodeId::FromIdentityKey(content.identity);
  out.from = {.address = *address, .port = content.port.value()};
  out.sequence = content.sequence.value();
  out.stamp = content.stamp.value();
  return out;
}

}  // namespace omni
