// SPDX-License-Identifier: Apache-2.0
#include <intel-ipsec-mb.h>

#include <utility>

#include "dataplane/core/aead_backends.h"
#include "dataplane/core/key_cache.h"

namespace omni {
namespace {

struct ManagerDeleter {
  void operator()(IMB_MGR* manager) const { free_mb_mgr(manager); }
};
using Manager = std::unique_ptr<IMB_MGR, ManagerDeleter>;

// Opening computes the tag and compares nothing: that is ours to do, before anyone sees the text.
using Tag = std::array<uint8_t, kTagBytes>;
bool IsTagOf(const Tag& tag, const AeadJob& job) {
  return sodium_memcmp(tag.data(), TagOf(job), tag.size()) == 0;
}

class IpsecMbChaCha20Poly1305 final : public CipherEngine {
 public:
  explicit IpsecMbChaCha20Poly1305(Manager manager) : manager_(std::move(manager)) {}

  void Seal(std::span<AeadJob> jobs) override {
    for (AeadJob& job : jobs) Run(job, IMB_DIR_ENCRYPT, TagOf(job));
  }

  void Open(std::span<AeadJob> jobs) override {
    for (AeadJob& job : jobs) {
      Tag tag;
      job.authentic = Run(job, IMB_DIR_DECRYPT, tag.data()) && IsTagOf(tag, job);
    }
  }

  void Forget(uint64_t) override {}  // nothing is kept

 private:
  // ChaCha20-Poly1305 jobs complete within submit (there is nothing to batch across buffers).
  bool Run(const AeadJob& work, IMB_CIPHER_DIRECTION direction, uint8_t* tag) {
    const AeadNonce nonce(work.header);
    IMB_JOB* job = IMB_GET_NEXT_JOB(manager_.get());
    job->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
    job->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
    job->cipher_direction = direction;
    job->chain_order = direction == IMB_DIR_ENCRYPT ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
    // SAFETY: Key32 is 32-byte aligned; ipsec-mb wants 16.
    job->enc_keys = work.key->data();
    job->dec_keys = work.key->data();
    job->key_len_in_bytes = Key32::size();
    job->iv = nonce.bytes.data();
    job->iv_len_in_bytes = nonce.bytes.size();
    job->src = TextOf(work);
    job->dst = TextOf(work);
    job->cipher_start_src_offset_in_bytes = 0;
    job->msg_len_to_cipher_in_bytes = work.text_bytes;
    job->hash_start_src_offset_in_bytes = 0;
    job->msg_len_to_hash_in_bytes = work.text_bytes;
    job->u.CHACHA20_POLY1305.aad = work.header;
    job->u.CHACHA20_POLY1305.aad_len_in_bytes = OMNI_DATA_AAD_BYTES;
    job->auth_tag_output = tag;
    job->auth_tag_output_len_in_bytes = kTagBytes;
    // NOCHECK: every field is set above; the checking variant costs and refuses nothing that can
    // occur here.
    const IMB_JOB* done = IMB_SUBMIT_JOB_NOCHECK(manager_.get());
    if (done == nullptr) done = IMB_FLUSH_JOB(manager_.get());
    return done != nullptr && done->status == IMB_STATUS_COMPLETED;
  }

  Manager manager_;
};

// By the direct functions, which a job would go through as well.
class IpsecMbAes256Gcm final : public CipherEngine {
 public:
  explicit IpsecMbAes256Gcm(Manager manager) : manager_(std::move(manager)) {}
  ~IpsecMbAes256Gcm() override { sodium_memzero(&context_, sizeof(context_)); }

  void Seal(std::span<AeadJob> jobs) override {
    KeyRun run(keys_);
    for (AeadJob& job : jobs) {
      const AeadNonce nonce(job.header);
      IMB_AES256_GCM_ENC(manager_.get(), &run.For(job, manager_.get()).key, &context_, TextOf(job),
                         TextOf(job), job.text_bytes, nonce.bytes.data(), job.header,
                         OMNI_DATA_AAD_BYTES, TagOf(job), kTagBytes);
    }
  }

  void Open(std::span<AeadJob> jobs) override {
    KeyRun run(keys_);
    for (AeadJob& job : jobs) {
      const AeadNonce nonce(job.header);
      Tag tag;
      IMB_AES256_GCM_DEC(manager_.get(), &run.For(job, manager_.get()).key, &context_, TextOf(job),
                         TextOf(job), job.text_bytes, nonce.bytes.data(), job.header,
                         OMNI_DATA_AAD_BYTES, tag.data(), tag.size());
      job.authentic = IsTagOf(tag, job);
    }
  }

  void Forget(uint64_t channel_id) override { keys_.Forget(channel_id); }

 private:
  struct Expansion {
    void Make(const Key32& from, IMB_MGR* manager) {
      IMB_AES256_GCM_PRE(manager, from.data(), &key);
    }
    void Wipe() { sodium_memzero(&key, sizeof(key)); }
    // SAFETY: ipsec-mb wants 16; 64 keeps it from straddling a cache line more.
    alignas(64) gcm_key_data key;
  };

  Manager manager_;
  alignas(64) gcm_context_data context_{};  // of one packet
  KeyCache<Expansion> keys_;
};

}  // namespace

std::unique_ptr<CipherEngine> MakeIpsecMbEngine(Cipher cipher) {
  Manager manager(alloc_mb_mgr(0));
  if (!manager) return nullptr;
  IMB_ARCH arch = IMB_ARCH_NONE;
  init_mb_mgr_auto(manager.get(), &arch);
  if (imb_get_errno(manager.get()) != 0) return nullptr;
  if (cipher == Cipher::kAes256Gcm) return std::make_unique<IpsecMbAes256Gcm>(std::move(manager));
  return std::make_unique<IpsecMbChaCha20Poly1305>(std::move(manager));
}

}  // namespace omni
