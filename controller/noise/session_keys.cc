// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/session_keys.h"

#include <sodium.h>

#include <algorithm>

#include "common/byte_order.h"
#include "common/encoding.h"

namespace omni::noise {
namespace {

constexpr std::string_view kPairPskLabel = "omninervous pair psk v1";
constexpr std::string_view kMembershipLabel = "omninervous membership v1";
constexpr std::string_view kTagLabel = "omninervous session tag v1";
constexpr std::string_view kChannelKeyLabel = "omninervous channel key v1";

// One derivation for all: `out` may be a secret, so it never passes through a plain array.
void DeriveInto(std::span<uint8_t> out, std::span<const uint8_t> key, std::string_view label,
                std::span<const uint8_t> data) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, key.data(), key.size(), out.size());
  crypto_generichash_update(&state, AsBytes(label).data(), label.size());
  crypto_generichash_update(&state, data.data(), data.size());
  crypto_generichash_final(&state, out.data(), out.size());
  sodium_memzero(&state, sizeof(state));
}

Key32 DeriveKey(const Key32& key, std::string_view label, std::span<const uint8_t> data) {
  Key32 out;
  DeriveInto({out.mutable_data(), out.size()}, key.bytes(), label, data);
  return out;
}

SessionChannel MakeChannel(const Key32& direction_key, uint64_t tag, uint8_t kind, int number) {
  const auto index = static_cast<uint8_t>(kind << kChannelKindShift | number);
  return {ChannelId(tag, index), DeriveKey(direction_key, kChannelKeyLabel, {&index, 1})};
}

// The bulk channels 0..count-1 of one direction.
std::vector<SessionChannel> MakeChannels(const Key32& direction_key, uint64_t tag, int count) {
  std::vector<SessionChannel> channels;
  channels.reserve(static_cast<size_t>(count));
  for (int number = 0; number < count; ++number) {
    channels.push_back(MakeChannel(direction_key, tag, kKindL3Bulk, number));
  }
  return channels;
}

// Its control channel, if the side that receives on it offered one.
std::optional<SessionChannel> MakeControlChannel(const Key32& direction_key,
                                                 const Offer& receiver) {
  if (receiver.control_channels == 0) return std::nullopt;
  return MakeChannel(direction_key, receiver.tag, kKindL3Control, 0);
}

}  // namespace

Key32 CombinePsk(const Key32& cluster_psk, const std::optional<Key32>& pair_psk) {
  if (!pair_psk) return cluster_psk.Clone();
  return DeriveKey(cluster_psk, kPairPskLabel, pair_psk->bytes());
}

Proof MembershipProof(const Key32& psk, const Hash& hash) {
  Proof proof{};
  DeriveInto(proof, psk.bytes(), kMembershipLabel, hash);
  return proof;
}

uint64_t DeriveTag(const Key32& boot_secret, const Hash& hash, uint32_t attempt) {
  std::array<uint8_t, kTagLabel.size() + sizeof(Hash) + 4> input{};
  auto out = std::copy(kTagLabel.begin(), kTagLabel.end(), input.begin());
  out = std::copy(hash.begin(), hash.end(), out);
  const Le32 number(attempt);
  std::memcpy(&*out, &number, sizeof(number));
  std::array<uint8_t, crypto_auth_hmacsha256_BYTES> mac{};
  crypto_auth_hmacsha256(mac.data(), input.data(), input.size(), boot_secret.data());
  uint64_t tag = 0;
  for (size_t i = 0; i < 6; ++i) tag |= uint64_t{mac[i]} << (8 * i);
  return tag;
}

EstablishedSession MakeSession(const TransportKeys& keys, Role role, const Offer& ours,
                               const Offer& theirs) {
  const bool initiator = role == Role::kInitiator;
  const Key32& receive_key = initiator ? keys.from_responder : keys.from_initiator;
  const Key32& send_key = initiator ? keys.from_initiator : keys.from_responder;
  const int channels = std::max(ours.workers, theirs.workers);
  EstablishedSession session;
  std::copy_n(keys.handshake_hash.begin(), session.session_id.size(), session.session_id.begin());
  session.role = role;
  session.cipher = AgreedCipher(ours, theirs);
  session.receive = MakeChannels(receive_key, ours.tag, channels);
  session.send = MakeChannels(send_key, theirs.tag, channels);
  session.control_receive = MakeControlChannel(receive_key, ours);
  session.control_send = MakeControlChannel(send_key, theirs);
  return session;
}

}  // namespace omni::noise
