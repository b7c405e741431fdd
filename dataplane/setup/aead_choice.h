// SPDX-License-Identifier: Apache-2.0
// Which backend seals and opens with which cipher: each that passes its self-test is measured, the
// fastest is taken. Some milliseconds at start; called by main() before any thread exists.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "dataplane/core/aead.h"

namespace omni {

// Time of sealing one packet, the best of some tries.
CipherSpeed MeasureCipher(CipherEngine& engine, Cipher cipher, AeadBackend backend,
                          const std::function<Instant()>& clock);

struct AeadChoice {
  std::vector<std::unique_ptr<Aead>> aeads;  // one per worker, each self-tested
  std::vector<CipherSpeed> ciphers;          // what they have; ChaCha20-Poly1305 first
};

// `wanted`: this backend for every cipher that it has; unset: the fastest for each. A backend that
// fails its self-test is logged and not used. An error when nothing is left for ChaCha20-Poly1305.
absl::StatusOr<AeadChoice> ChooseAeads(std::optional<AeadBackend> wanted, uint32_t workers,
                                       const std::function<Instant()>& clock = Now);

}  // namespace omni
