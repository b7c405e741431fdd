// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/aead_backends.h"

namespace omni {
namespace {

class SodiumAead final : public Aead {
 public:
  std::string_view name() const override { return AeadBackendName(AeadBackend::kLibsodium); }

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
};

}  // namespace

std::unique_ptr<Aead> MakeSodiumAead() { return std::make_unique<SodiumAead>(); }

}  // namespace omni
