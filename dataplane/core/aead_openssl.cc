// SPDX-License-Identifier: Apache-2.0
#include <openssl/evp.h>

#include "common/status.h"
#include "dataplane/core/aead_backends.h"
#include "dataplane/core/key_cache.h"

namespace omni {
namespace {

struct ContextDeleter {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};
using Context = std::unique_ptr<EVP_CIPHER_CTX, ContextDeleter>;

// Null when the library was configured without the cipher.
const EVP_CIPHER* Evp(Cipher cipher) {
  return cipher == Cipher::kAes256Gcm ? EVP_aes_256_gcm() : EVP_chacha20_poly1305();
}

// Both ciphers alike: a context holds a key, and a packet only brings another nonce. Making a
// context allocates, setting a key or a nonce does not: all are made at once.
template <Cipher kCipher>
class OpenSslEngine final : public CipherEngine {
 public:
  void Seal(std::span<AeadJob> jobs) override {
    KeyRun run(keys_);
    for (AeadJob& job : jobs) {
      EVP_CIPHER_CTX* context = run.For(job).context.get();
      const bool done =
          Run(context, job, kSeal) &&
          EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, TagOf(job)) == 1;
      OMNI_CHECK(done);  // or a text would leave as it is
    }
  }

  void Open(std::span<AeadJob> jobs) override {
    KeyRun run(keys_);
    for (AeadJob& job : jobs) job.authentic = Run(run.For(job).context.get(), job, kOpen);
  }

  void Forget(uint64_t channel_id) override { keys_.Forget(channel_id); }

 private:
  static constexpr int kOpen = 0;
  static constexpr int kSeal = 1;

  struct Expansion {
    Expansion() : context(EVP_CIPHER_CTX_new()) {
      const Key32 zero;
      OMNI_CHECK(context != nullptr && EVP_CipherInit_ex(context.get(), Evp(kCipher), nullptr,
                                                         zero.data(), nullptr, kSeal) == 1);
    }
    void Make(const Key32& key) {
      OMNI_CHECK(EVP_CipherInit_ex(context.get(), nullptr, nullptr, key.data(), nullptr, -1) == 1);
    }
    // Another key takes the place of the former's expansion.
    void Wipe() { Make(Key32()); }
    Context context;
  };

  static bool Run(EVP_CIPHER_CTX* context, const AeadJob& job, int direction) {
    const AeadNonce nonce(job.header);
    const auto length = static_cast<int>(job.text_bytes);
    int written = 0;
    return EVP_CipherInit_ex(context, nullptr, nullptr, nullptr, nonce.bytes.data(), direction) ==
               1 &&
           (direction == kSeal ||
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, TagOf(job)) == 1) &&
           EVP_CipherUpdate(context, nullptr, &written, job.header, OMNI_DATA_AAD_BYTES) == 1 &&
           EVP_CipherUpdate(context, TextOf(job), &written, TextOf(job), length) == 1 &&
           EVP_CipherFinal_ex(context, TextOf(job) + length, &written) == 1;
  }

  KeyCache<Expansion> keys_;
};

}  // namespace

std::unique_ptr<CipherEngine> MakeOpenSslEngine(Cipher cipher) {
  // Tried once, as the library may know the name and have no provider for it.
  const Context probe(EVP_CIPHER_CTX_new());
  if (!probe || Evp(cipher) == nullptr ||
      EVP_CipherInit_ex(probe.get(), Evp(cipher), nullptr, nullptr, nullptr, 1) != 1) {
    return nullptr;
  }
  if (cipher == Cipher::kAes256Gcm) return std::make_unique<OpenSslEngine<Cipher::kAes256Gcm>>();
  return std::make_unique<OpenSslEngine<Cipher::kChaCha20Poly1305>>();
}

}  // namespace omni
