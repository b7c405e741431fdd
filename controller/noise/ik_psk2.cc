// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/ik_psk2.h"

#include <sodium.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "common/byte_order.h"
#include "common/encoding.h"
#include "common/status.h"

namespace omni::noise {
namespace {

constexpr std::string_view kProtocolName = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b";
static_assert(kProtocolName.size() <= sizeof(Hash), "a longer name would have to be hashed");

constexpr size_t kBlockBytes = 128;  // BLOCKLEN of BLAKE2b

using Nonce = std::array<uint8_t, crypto_aead_chacha20poly1305_ietf_NPUBBYTES>;

Nonce NonceOf(uint64_t counter) {
  Nonce nonce{};
  const Le64 little(counter);
  std::memcpy(nonce.data() + 4, &little, sizeof(little));
  return nonce;
}

// HMAC (RFC 2104) over BLAKE2b-512. libsodium has it for SHA-2 only; BLAKE2b's own keyed mode is
// another function.
class Hmac {
 public:
  explicit Hmac(const Secret<64>& key) {
    Secret<kBlockBytes> pad;
    std::copy_n(key.data(), key.size(), pad.mutable_data());
    Start(inner_, pad, 0x36);
    Start(outer_, pad, 0x5c);
  }
  ~Hmac() {
    sodium_memzero(&inner_, sizeof(inner_));
    sodium_memzero(&outer_, sizeof(outer_));
  }
  Hmac(const Hmac&) = delete;
  Hmac& operator=(const Hmac&) = delete;

  void Update(std::span<const uint8_t> data) {
    crypto_generichash_update(&inner_, data.data(), data.size());
  }
  Secret<64> Finish() {
    Secret<64> inner_hash;
    crypto_generichash_final(&inner_, inner_hash.mutable_data(), inner_hash.size());
    crypto_generichash_update(&outer_, inner_hash.data(), inner_hash.size());
    Secret<64> out;
    crypto_generichash_final(&outer_, out.mutable_data(), out.size());
    return out;
  }

 private:
  static void Start(crypto_generichash_state& state, const Secret<kBlockBytes>& pad, uint8_t mask) {
    Secret<kBlockBytes> masked;
    for (size_t i = 0; i < kBlockBytes; ++i) {
      masked.mutable_data()[i] = static_cast<uint8_t>(pad.data()[i] ^ mask);
    }
    crypto_generichash_init(&state, nullptr, 0, sizeof(Hash));
    crypto_generichash_update(&state, masked.data(), masked.size());
  }
  crypto_generichash_state inner_{};
  crypto_generichash_state outer_{};
};

// HKDF of the specification, section 4.3, with N outputs.
template <size_t N>
std::array<Secret<64>, N> Hkdf(const Secret<64>& chaining_key, std::span<const uint8_t> input) {
  Hmac extract(chaining_key);
  extract.Update(input);
  const Secret<64> temporary = extract.Finish();
  std::array<Secret<64>, N> out;
  for (size_t i = 0; i < N; ++i) {
    Hmac expand(temporary);
    if (i > 0) expand.Update(out[i - 1].bytes());
    const auto number = static_cast<uint8_t>(i + 1);
    expand.Update({&number, 1});
    out[i] = expand.Finish();
  }
  return out;
}

Key32 FirstHalf(const Secret<64>& value) { return Key32(value.bytes().first<32>()); }

}  // namespace

PublicKey PublicOf(const Key32& private_key) {
  PublicKey out{};
  crypto_scalarmult_base(out.data(), private_key.data());
  return out;
}

std::optional<Key32> Dh(const Key32& private_key, const PublicKey& public_key) {
  Key32 shared;
  if (crypto_scalarmult(shared.mutable_data(), private_key.data(), public_key.data()) != 0) {
    return std::nullopt;
  }
  return shared;
}

std::vector<uint8_t> Seal(const Key32& key, uint64_t counter, std::span<const uint8_t> ad,
                          std::span<const uint8_t> plaintext) {
  std::vector<uint8_t> out(plaintext.size() + kAeadTagBytes);
  crypto_aead_chacha20poly1305_ietf_encrypt(out.data(), nullptr, plaintext.data(), plaintext.size(),
                                            ad.data(), ad.size(), nullptr, NonceOf(counter).data(),
                                            key.data());
  return out;
}

std::optional<std::vector<uint8_t>> Open(const Key32& key, uint64_t counter,
                                         std::span<const uint8_t> ad,
                                         std::span<const uint8_t> ciphertext) {
  if (ciphertext.size() < kAeadTagBytes) return std::nullopt;
  std::vector<uint8_t> out(ciphertext.size() - kAeadTagBytes);
  if (crypto_aead_chacha20poly1305_ietf_decrypt(out.data(), nullptr, nullptr, ciphertext.data(),
                                                ciphertext.size(), ad.data(), ad.size(),
                                                NonceOf(counter).data(), key.data()) != 0) {
    return std::nullopt;
  }
  return out;
}

SymmetricState::SymmetricState(std::span<const uint8_t> prologue,
                               const PublicKey& responder_static) {
  std::copy(kProtocolName.begin(), kProtocolName.end(), hash_.begin());
  chaining_key_.Assign(hash_);
  MixHash(prologue);
  MixHash(responder_static);
}

SymmetricState SymmetricState::Clone() const {
  SymmetricState copy;
  copy.hash_ = hash_;
  copy.chaining_key_ = chaining_key_.Clone();
  copy.key_ = key_.Clone();
  copy.counter_ = counter_;
  return copy;
}

void SymmetricState::MixHash(std::span<const uint8_t> data) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, hash_.size());
  crypto_generichash_update(&state, hash_.data(), hash_.size());
  crypto_generichash_update(&state, data.data(), data.size());
  crypto_generichash_final(&state, hash_.data(), hash_.size());
}

void SymmetricState::MixKey(std::span<const uint8_t> input) {
  auto outputs = Hkdf<2>(chaining_key_, input);
  chaining_key_ = std::move(outputs[0]);
  key_ = FirstHalf(outputs[1]);
  counter_ = 0;
}

void SymmetricState::MixKeyAndHash(const Key32& psk) {
  auto outputs = Hkdf<3>(chaining_key_, psk.bytes());
  chaining_key_ = std::move(outputs[0]);
  MixHash(outputs[1].bytes());
  key_ = FirstHalf(outputs[2]);
  counter_ = 0;
}

std::vector<uint8_t> SymmetricState::EncryptAndHash(std::span<const uint8_t> plaintext) {
  std::vector<uint8_t> ciphertext = Seal(key_, counter_++, hash_, plaintext);
  MixHash(ciphertext);
  return ciphertext;
}

std::optional<std::vector<uint8_t>> SymmetricState::DecryptAndHash(
    std::span<const uint8_t> ciphertext) {
  auto plaintext = Open(key_, counter_, hash_, ciphertext);
  if (!plaintext) return std::nullopt;
  ++counter_;
  MixHash(ciphertext);
  return plaintext;
}

std::array<Key32, 2> SymmetricState::Split() const {
  const auto outputs = Hkdf<2>(chaining_key_, {});
  return {FirstHalf(outputs[0]), FirstHalf(outputs[1])};
}

std::optional<Initiator> Initiator::BeginInitiation(std::span<const uint8_t> prologue,
                                                    const PublicKey& own_static,
                                                    const PublicKey& remote_static,
                                                    const Key32& static_static, Key32 ephemeral) {
  const auto es = Dh(ephemeral, remote_static);
  if (!es) return std::nullopt;
  Initiator self(SymmetricState(prologue, remote_static));
  self.ephemeral_ = std::move(ephemeral);
  self.ephemeral_public_ = PublicOf(self.ephemeral_);
  // With a PSK in the pattern an ephemeral key goes into the chaining key too (section 9.2).
  self.state_.MixHash(self.ephemeral_public_);
  self.state_.MixKey(self.ephemeral_public_);
  self.state_.MixKey(es->bytes());
  const auto encrypted = self.state_.EncryptAndHash(own_static);
  OMNI_CHECK(encrypted.size() == self.encrypted_static_.size());
  std::copy(encrypted.begin(), encrypted.end(), self.encrypted_static_.begin());
  self.state_.MixKey(static_static.bytes());
  return self;
}

std::optional<Initiator::Result> Initiator::ReadResponse(const PublicKey& remote_ephemeral,
                                                         std::span<const uint8_t> encrypted_payload,
                                                         const Key32& own_static_private,
                                                         const Key32& psk) const {
  const auto ee = Dh(ephemeral_, remote_ephemeral);
  const auto se = Dh(own_static_private, remote_ephemeral);
  if (!ee || !se) return std::nullopt;
  SymmetricState state = state_.Clone();
  state.MixHash(remote_ephemeral);
  state.MixKey(remote_ephemeral);
  state.MixKey(ee->bytes());
  state.MixKey(se->bytes());
  state.MixKeyAndHash(psk);
  auto payload = state.DecryptAndHash(encrypted_payload);
  if (!payload) return std::nullopt;
  auto keys = state.Split();
  return Result{*std::move(payload), {std::move(keys[0]), std::move(keys[1]), state.hash()}};
}

std::optional<Responder> Responder::ReadInitiation(std::span<const uint8_t> prologue,
                                                   const Key32& own_static_private,
                                                   const PublicKey& own_static,
                                                   const PublicKey& remote_ephemeral,
                                                   const EncryptedKey& encrypted_static) {
  const auto es = Dh(own_static_private, remote_ephemeral);
  if (!es) return std::nullopt;
  Responder self(SymmetricState(prologue, own_static));
  self.remote_ephemeral_ = remote_ephemeral;
  self.state_.MixHash(remote_ephemeral);
  self.state_.MixKey(remote_ephemeral);
  self.state_.MixKey(es->bytes());
  const auto remote_static = self.state_.DecryptAndHash(encrypted_static);
  if (!remote_static) return std::nullopt;
  std::copy(remote_static->begin(), remote_static->end(), self.remote_static_.begin());
  return self;
}

std::optional<std::vector<uint8_t>> Responder::ReadPayload(
    const Key32& static_static, std::span<const uint8_t> encrypted_payload) {
  state_.MixKey(static_static.bytes());
  return state_.DecryptAndHash(encrypted_payload);
}

bool Responder::BeginResponse(const Key32& ephemeral, const Key32& psk) {
  const auto ee = Dh(ephemeral, remote_ephemeral_);
  const auto se = Dh(ephemeral, remote_static_);
  if (!ee || !se) return false;
  ephemeral_public_ = PublicOf(ephemeral);
  state_.MixHash(ephemeral_public_);
  state_.MixKey(ephemeral_public_);
  state_.MixKey(ee->bytes());
  state_.MixKey(se->bytes());
  state_.MixKeyAndHash(psk);
  return true;
}

TransportKeys Responder::Finish() const {
  auto keys = state_.Split();
  return {std::move(keys[0]), std::move(keys[1]), state_.hash()};
}

}  // namespace omni::noise
