// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/payload.h"

#include <algorithm>
#include <bitset>

#include "common/byte_order.h"
#include "common/status.h"

namespace omni::noise {
namespace {

enum ItemType : uint8_t {
  kPadding = 0,
  kTimestamp = 1,
  kSessionTag = 2,
  kWorkers = 3,
  kCiphers = 4,
  kMembershipProof = 5,
  kControlChannels = 6,
  kSecretTag = 7,
};
constexpr size_t kKnownTypes = 8;
constexpr std::array<size_t, kKnownTypes> kLengths = {0, 8, 6, 1, 1, 16, 1, 8};

class Writer {
 public:
  void Item(ItemType type, std::span<const uint8_t> value) {
    OMNI_CHECK(value.size() == kLengths[type] && used_ + 2 + value.size() <= bytes_.size());
    bytes_[used_++] = type;
    bytes_[used_++] = static_cast<uint8_t>(value.size());
    std::copy(value.begin(), value.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += value.size();
  }
  void OfferItems(const Offer& offer) {
    std::array<uint8_t, 6> tag{};
    for (size_t i = 0; i < tag.size(); ++i) tag[i] = static_cast<uint8_t>(offer.tag >> (8 * i));
    Item(kSessionTag, tag);
    Item(kWorkers, {&offer.workers, 1});
    Item(kCiphers, {&offer.ciphers, 1});
    if (offer.control_channels > 0) Item(kControlChannels, {&offer.control_channels, 1});
  }
  const PayloadBytes& bytes() const { return bytes_; }

 private:
  PayloadBytes bytes_{};
  size_t used_ = 0;
};

// The items of known type, empty where absent.
struct Items {
  std::array<std::span<const uint8_t>, kKnownTypes> values;
  bool Has(ItemType type) const { return !values[type].empty(); }
};

std::optional<Items> Split(std::span<const uint8_t> bytes) {
  if (bytes.size() != wire::kPayloadBytes) return std::nullopt;
  Items items;
  std::bitset<256> seen;
  while (!bytes.empty() && bytes[0] != kPadding) {
    if (bytes.size() < 2 || bytes.size() - 2 < bytes[1]) return std::nullopt;
    const uint8_t type = bytes[0];
    const auto value = bytes.subspan(2, bytes[1]);
    bytes = bytes.subspan(2 + value.size());
    if (seen.test(type)) return std::nullopt;
    seen.set(type);
    if (type >= kKnownTypes) continue;
    if (value.size() != kLengths[type]) return std::nullopt;
    items.values[type] = value;
  }
  if (std::any_of(bytes.begin(), bytes.end(), [](uint8_t b) { return b != 0; })) {
    return std::nullopt;
  }
  return items;
}

std::optional<SecretTag> SecretOf(const Items& items) {
  if (!items.Has(kSecretTag)) return std::nullopt;
  SecretTag tag{};
  std::ranges::copy(items.values[kSecretTag], tag.begin());
  return tag;
}

std::optional<Offer> OfferOf(const Items& items) {
  if (!items.Has(kSessionTag) || !items.Has(kWorkers) || !items.Has(kCiphers)) return std::nullopt;
  Offer offer;
  const auto tag = items.values[kSessionTag];
  for (size_t i = 0; i < tag.size(); ++i) offer.tag |= uint64_t{tag[i]} << (8 * i);
  offer.workers = items.values[kWorkers][0];
  offer.ciphers = items.values[kCiphers][0];
  if (offer.workers < 1 || offer.workers > kMaxWorkers) return std::nullopt;
  if (items.Has(kControlChannels)) {
    offer.control_channels = items.values[kControlChannels][0];
    if (offer.control_channels > kMaxControlChannels) return std::nullopt;
  }
  if ((offer.ciphers & kOffersChaCha20Poly1305) == 0) return std::nullopt;
  return offer;
}

}  // namespace

PayloadBytes Encode(const InitiationPayload& payload) {
  Writer writer;
  const Be64 timestamp(payload.timestamp);
  std::array<uint8_t, 8> raw{};
  std::memcpy(raw.data(), &timestamp, raw.size());
  writer.Item(kTimestamp, raw);
  writer.OfferItems(payload.offer);
  writer.Item(kMembershipProof, payload.proof);
  if (payload.secret) writer.Item(kSecretTag, *payload.secret);
  return writer.bytes();
}

PayloadBytes Encode(const ResponsePayload& payload) {
  Writer writer;
  writer.OfferItems(payload.offer);
  if (payload.secret) writer.Item(kSecretTag, *payload.secret);
  return writer.bytes();
}

std::optional<InitiationPayload> ParseInitiationPayload(std::span<const uint8_t> bytes) {
  const auto items = Split(bytes);
  if (!items || !items->Has(kTimestamp) || !items->Has(kMembershipProof)) return std::nullopt;
  const auto offer = OfferOf(*items);
  if (!offer) return std::nullopt;
  InitiationPayload payload;
  payload.offer = *offer;
  payload.secret = SecretOf(*items);
  Be64 timestamp;
  std::memcpy(&timestamp, items->values[kTimestamp].data(), sizeof(timestamp));
  payload.timestamp = timestamp.value();
  const auto proof = items->values[kMembershipProof];
  std::copy(proof.begin(), proof.end(), payload.proof.begin());
  return payload;
}

std::optional<ResponsePayload> ParseResponsePayload(std::span<const uint8_t> bytes) {
  const auto items = Split(bytes);
  // An initiation's items have no business here.
  if (!items || items->Has(kTimestamp) || items->Has(kMembershipProof)) return std::nullopt;
  const auto offer = OfferOf(*items);
  if (!offer) return std::nullopt;
  return ResponsePayload{*offer, SecretOf(*items)};
}

}  // namespace omni::noise
