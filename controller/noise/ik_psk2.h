// SPDX-License-Identifier: Apache-2.0
// Noise_IKpsk2_25519_ChaChaPoly_BLAKE2b (Noise specification, revision 34) from libsodium's
// primitives: pure, knows nothing of our messages. The caller supplies ephemeral keys, so that a
// run can be repeated; and the static-static DH, which is the same for every handshake of a pair.
//
//   <- s
//   ...
//   -> e, es, s, ss     BeginInitiation, EncryptPayload       | ReadInitiation, ReadPayload
//   <- e, ee, se, psk   ReadResponse                          | BeginResponse, EncryptPayload
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/secret.h"

namespace omni::noise {

using PublicKey = std::array<uint8_t, 32>;
using Hash = std::array<uint8_t, 64>;  // HASHLEN of BLAKE2b
inline constexpr size_t kAeadTagBytes = 16;
using EncryptedKey = std::array<uint8_t, 32 + kAeadTagBytes>;

PublicKey PublicOf(const Key32& private_key);
// X25519. Empty when the result is zero, that is, for a public key of low order.
std::optional<Key32> Dh(const Key32& private_key, const PublicKey& public_key);

// ChaCha20-Poly1305 with the nonce of the specification: 4 zero bytes, then `counter` little
// endian.
std::vector<uint8_t> Seal(const Key32& key, uint64_t counter, std::span<const uint8_t> ad,
                          std::span<const uint8_t> plaintext);
std::optional<std::vector<uint8_t>> Open(const Key32& key, uint64_t counter,
                                         std::span<const uint8_t> ad,
                                         std::span<const uint8_t> ciphertext);

// CipherState and SymmetricState of the specification, section 5.
class SymmetricState {
 public:
  SymmetricState(std::span<const uint8_t> prologue, const PublicKey& responder_static);
  SymmetricState Clone() const;

  const Hash& hash() const { return hash_; }
  void MixHash(std::span<const uint8_t> data);
  void MixKey(std::span<const uint8_t> input);
  void MixKeyAndHash(const Key32& psk);
  std::vector<uint8_t> EncryptAndHash(std::span<const uint8_t> plaintext);
  // Empty when it does not authenticate; the state is then unchanged.
  std::optional<std::vector<uint8_t>> DecryptAndHash(std::span<const uint8_t> ciphertext);
  // The keys of the two directions: from the initiator, from the responder.
  std::array<Key32, 2> Split() const;

 private:
  SymmetricState() = default;
  Hash hash_{};
  Secret<64> chaining_key_;
  Key32 key_;
  uint64_t counter_ = 0;
};

// What a completed handshake yields.
struct TransportKeys {
  Key32 from_initiator;
  Key32 from_responder;
  Hash handshake_hash{};
};

class Initiator {
 public:
  // Tokens e, es, s, ss. Empty when the remote key is of low order.
  static std::optional<Initiator> BeginInitiation(std::span<const uint8_t> prologue,
                                                  const PublicKey& own_static,
                                                  const PublicKey& remote_static,
                                                  const Key32& static_static, Key32 ephemeral);

  const PublicKey& ephemeral() const { return ephemeral_public_; }
  const EncryptedKey& encrypted_static() const { return encrypted_static_; }
  // The handshake hash so far.
  const Hash& hash() const { return state_.hash(); }
  // Ends the initiation. Once.
  std::vector<uint8_t> EncryptPayload(std::span<const uint8_t> payload) {
    return state_.EncryptAndHash(payload);
  }

  struct Result {
    std::vector<uint8_t> payload;
    TransportKeys keys;
  };
  // Tokens e, ee, se, psk. Empty when the response does not authenticate; this object is as it was
  // in either case, so that a forged response cannot end a handshake.
  std::optional<Result> ReadResponse(const PublicKey& remote_ephemeral,
                                     std::span<const uint8_t> encrypted_payload,
                                     const Key32& own_static_private, const Key32& psk) const;

 private:
  explicit Initiator(SymmetricState state) : state_(std::move(state)) {}
  SymmetricState state_;
  Key32 ephemeral_;
  PublicKey ephemeral_public_{};
  EncryptedKey encrypted_static_{};
};

class Responder {
 public:
  // Tokens e, es, s. Empty when it does not authenticate. After it remote_static() tells who claims
  // to speak; nothing is proven before ReadPayload().
  static std::optional<Responder> ReadInitiation(std::span<const uint8_t> prologue,
                                                 const Key32& own_static_private,
                                                 const PublicKey& own_static,
                                                 const PublicKey& remote_ephemeral,
                                                 const EncryptedKey& encrypted_static);

  const PublicKey& remote_static() const { return remote_static_; }
  // The handshake hash so far.
  const Hash& hash() const { return state_.hash(); }
  // Token ss, then the payload. Empty when it does not authenticate.
  std::optional<std::vector<uint8_t>> ReadPayload(const Key32& static_static,
                                                  std::span<const uint8_t> encrypted_payload);

  // Tokens e, ee, se, psk. False when a key of the initiator is of low order.
  bool BeginResponse(const Key32& ephemeral, const Key32& psk);
  const PublicKey& ephemeral() const { return ephemeral_public_; }
  // Ends the response. Once.
  std::vector<uint8_t> EncryptPayload(std::span<const uint8_t> payload) {
    return state_.EncryptAndHash(payload);
  }
  TransportKeys Finish() const;

 private:
  explicit Responder(SymmetricState state) : state_(std::move(state)) {}
  SymmetricState state_;
  PublicKey remote_ephemeral_{};
  PublicKey remote_static_{};
  PublicKey ephemeral_public_{};
};

}  // namespace omni::noise
