// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/aead_backends.h"
#include "dataplane/core/key_cache.h"

namespace omni {
namespace {

class SodiumChaCha20Poly1305 final : public CipherEngine {
 public:
  void Seal(std::span<AeadJob> jobs) override {
    for (AeadJob& job : jobs) {
      const AeadNonce nonce(job.header);
      crypto_aead_chacha20poly1305_ietf_encrypt_detached(
          TextOf(job), TagOf(job), nullptr, TextOf(job), job.text_bytes, job.header,
          OMNI_DATA_AAD_BYTES, nullptr, nonce.bytes.data(), job.key->data());
    }
  }

  void Open(std::span<AeadJob> jobs) override {
    for (AeadJob& job : jobs) {
      const AeadNonce nonce(job.header);
      job.authentic = crypto_aead_chacha20poly1305_ietf_decrypt_detached(
                          TextOf(job), nullptr, TextOf(job), job.text_bytes, TagOf(job), job.header,
                          OMNI_DATA_AAD_BYTES, nonce.bytes.data(), job.key->data()) == 0;
    }
  }

  void Forget(uint64_t) override {}  // nothing is kept
};

// Needs a CPU with AES and carry-less multiplication.
class SodiumAes256Gcm final : public CipherEngine {
 public:
  void Seal(std::span<AeadJob> jobs) override {
    KeyRun run(keys_);
    for (AeadJob& job : jobs) {
      const AeadNonce nonce(job.header);
      crypto_aead_aes256gcm_encrypt_detached_afternm(
          TextOf(job), TagOf(job), nullptr, TextOf(job), job.text_bytes, job.header,
          OMNI_DATA_AAD_BYTES, nullptr, nonce.bytes.data(), &run.For(job).state);
    }
  }

  void Open(std::span<AeadJob> jobs) override {
    KeyRun run(keys_);
    for (AeadJob& job : jobs) {
      const AeadNonce nonce(job.header);
      job.authentic = crypto_aead_aes256gcm_decrypt_detached_afternm(
                          TextOf(job), nullptr, TextOf(job), job.text_bytes, TagOf(job), job.header,
                          OMNI_DATA_AAD_BYTES, nonce.bytes.data(), &run.For(job).state) == 0;
    }
  }

  void Forget(uint64_t channel_id) override { keys_.Forget(channel_id); }

 private:
  struct Expansion {
    void Make(const Key32& key) { crypto_aead_aes256gcm_beforenm(&state, key.data()); }
    void Wipe() { sodium_memzero(&state, sizeof(state)); }
    crypto_aead_aes256gcm_state state;
  };
  KeyCache<Expansion> keys_;
};

}  // namespace

std::unique_ptr<CipherEngine> MakeSodiumEngine(Cipher cipher) {
  // Before this, the library knows nothing of the CPU and uses portable code; the second time it
  // does nothing.
  if (sodium_init() < 0) return nullptr;
  if (cipher == Cipher::kChaCha20Poly1305) return std::make_unique<SodiumChaCha20Poly1305>();
  if (crypto_aead_aes256gcm_is_available() == 0) return nullptr;
  return std::make_unique<SodiumAes256Gcm>();
}

}  // namespace omni
