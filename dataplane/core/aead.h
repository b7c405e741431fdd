// SPDX-License-Identifier: Apache-2.0
// Aead: sealing and opening of session data in place, in batches, with the cipher that each job
// names. Behind it stands one CipherEngine per cipher, each of the backend that was chosen for it.
// One instance per worker (ipsec-mb's manager and expanded keys are not shared between threads);
// the virtual call is one per run of jobs with the same cipher.
//
// A job points at an omni_data_header with the text right behind it. The header's first 16 bytes
// are the AAD, its counter is the nonce, its tag is written by Seal and read by Open.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/cipher.h"
#include "common/secret.h"

namespace omni {

struct AeadJob {
  const Key32* key = nullptr;  // stays where it is during the call
  uint8_t* header = nullptr;   // omni_data_header, then `text_bytes` of text
  uint32_t text_bytes = 0;
  Cipher cipher = Cipher::kChaCha20Poly1305;
  bool authentic = false;  // set by Open; when false the text is undefined
};

// One cipher by one backend. All jobs of a call are of that cipher.
class CipherEngine {
 public:
  virtual ~CipherEngine() = default;
  virtual void Seal(std::span<AeadJob> jobs) = 0;
  virtual void Open(std::span<AeadJob> jobs) = 0;
  // A channel has ended: whatever was kept of its key is wiped. (An engine may keep expanded keys;
  // it uses one for the very key that it was made of only, whatever the channel is called.)
  virtual void Forget(uint64_t channel_id) = 0;
};

class Aead {
 public:
  // By Cipher; null where the machine has none. ChaCha20-Poly1305 must be there.
  using Engines = std::array<std::unique_ptr<CipherEngine>, kAllCiphers.size()>;
  explicit Aead(Engines engines);

  bool Supports(Cipher cipher) const { return engines_[Index(cipher)] != nullptr; }
  // The ciphers of all jobs must be supported; they may differ.
  void Seal(std::span<AeadJob> jobs);
  void Open(std::span<AeadJob> jobs);
  void Forget(uint64_t channel_id);

 private:
  static constexpr size_t Index(Cipher cipher) { return static_cast<size_t>(cipher); }
  Engines engines_;
};

enum class AeadBackend : uint8_t { kIpsecMb, kOpenSsl, kLibsodium };
inline constexpr std::array kAllAeadBackends = {AeadBackend::kIpsecMb, AeadBackend::kOpenSsl,
                                                AeadBackend::kLibsodium};
// "ipsec-mb", "openssl", "libsodium"
std::string_view AeadBackendName(AeadBackend backend);

// How fast a backend is with a cipher: nanoseconds of sealing one packet of 64 and of 1,420 bytes.
struct CipherSpeed {
  Cipher cipher = Cipher::kChaCha20Poly1305;
  AeadBackend backend = AeadBackend::kLibsodium;
  uint32_t ns_64 = 0;
  uint32_t ns_1420 = 0;
  // What is compared: a full packet and a small one, as data and its acknowledgement.
  uint64_t sum() const { return uint64_t{ns_64} + ns_1420; }
};

// UNIMPLEMENTED when this build or this machine lacks it.
absl::StatusOr<std::unique_ptr<CipherEngine>> MakeCipherEngine(Cipher cipher, AeadBackend backend);

// Those that have `cipher` in this build and on this machine.
std::vector<AeadBackend> AvailableAeadBackends(Cipher cipher);

// Every cipher that the backend has, by that backend. UNIMPLEMENTED as above.
absl::StatusOr<std::unique_ptr<Aead>> MakeAead(AeadBackend backend);

// Known answers, every length 0-256 and some up to 65,475 against another backend, forgeries, and
// keys that change places. INTERNAL names what went wrong; `name` is what it calls the engine. Run
// at start on each instance before it may be used.
absl::Status SelfTestCipher(CipherEngine& engine, Cipher cipher, std::string_view name);

}  // namespace omni
