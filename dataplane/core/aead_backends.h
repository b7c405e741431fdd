// SPDX-License-Identifier: Apache-2.0
// What the AEAD backends share, and their constructors. Private to dataplane/core; others use
// aead.h.
#pragma once

#include <sodium.h>

#include <algorithm>
#include <array>
#include <memory>

#include "bpf/abi.h"
#include "dataplane/core/aead.h"

namespace omni {

inline uint8_t* TextOf(const AeadJob& job) { return job.header + OMNI_DATA_OVERHEAD; }
inline uint8_t* TagOf(const AeadJob& job) { return job.header + offsetof(omni_data_header, tag); }
inline constexpr size_t kTagBytes = sizeof(omni_data_header::tag);

// 96 bits: four zero bytes, then the header's counter as it lies on the wire.
struct AeadNonce {
  explicit AeadNonce(const uint8_t* header) {
    std::copy_n(header + offsetof(omni_data_header, counter), 8, bytes.begin() + 4);
  }
  std::array<uint8_t, 12> bytes{};
};

// Null when the machine lacks what the backend needs for the cipher.
std::unique_ptr<CipherEngine> MakeSodiumEngine(Cipher cipher);
std::unique_ptr<CipherEngine> MakeOpenSslEngine(Cipher cipher);
std::unique_ptr<CipherEngine> MakeIpsecMbEngine(Cipher cipher);

}  // namespace omni
