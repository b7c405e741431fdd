// SPDX-License-Identifier: Apache-2.0
// Aead: sealing and opening of session data in place, in batches, behind one interface with several
// backends. One instance per worker (ipsec-mb's manager is not shared between threads). The virtual
// call is one per batch.
//
// A job points at an omni_data_header with the text right behind it. The header's first 16 bytes
// are the AAD, its counter is the nonce, its tag is written by Seal and read by Open (RFC 8439).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/secret.h"

namespace omni {

struct AeadJob {
  const Key32* key = nullptr;
  uint8_t* header = nullptr;  // omni_data_header, then `text_bytes` of text
  uint32_t text_bytes = 0;
  bool authentic = false;  // set by Open; when false the text is undefined
};

class Aead {
 public:
  virtual ~Aead() = default;
  virtual std::string_view name() const = 0;
  virtual void Seal(std::span<AeadJob> jobs) = 0;
  virtual void Open(std::span<AeadJob> jobs) = 0;
};

enum class AeadBackend : uint8_t { kIpsecMb, kLibsodium };

// Every backend this build and this machine have, fastest first by what is known of them.
std::vector<AeadBackend> AvailableAeadBackends();
std::string_view AeadBackendName(AeadBackend backend);

// UNIMPLEMENTED when this build or this machine lacks it.
absl::StatusOr<std::unique_ptr<Aead>> MakeAead(AeadBackend backend);

// Known answers (RFC 8439 section 2.8.2), every length 0-256 and some up to 65,475 against
// libsodium, and forged tags. INTERNAL names what went wrong. Run at start on each instance before
// it may be used.
absl::Status SelfTestAead(Aead& aead);

}  // namespace omni
