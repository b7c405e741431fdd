// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/aead_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bpf/abi.h"
#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: 8 tries of 16 packets take 0.1-0.3 ms a backend and cipher; the best of them is the one
// that nothing interrupted.
constexpr int kTries = 8;
constexpr size_t kBatch = 16;

// Nanoseconds a packet.
uint32_t TimeOfSealing(CipherEngine& engine, Cipher cipher, uint32_t bytes,
                       const std::function<Instant()>& clock) {
  const Key32 key;
  const size_t stride = OMNI_DATA_OVERHEAD + bytes;
  std::vector<uint8_t> memory(kBatch * stride);
  std::vector<AeadJob> jobs;
  for (size_t i = 0; i < kBatch; ++i) {
    jobs.push_back(
        {.key = &key, .header = memory.data() + i * stride, .text_bytes = bytes, .cipher = cipher});
  }
  Duration best = Duration::max();
  for (int i = 0; i < kTries; ++i) {
    const Instant begin = clock();
    engine.Seal(jobs);
    best = std::min(best, clock() - begin);
  }
  engine.Forget(0);  // the id in these headers
  return static_cast<uint32_t>(best.count() / static_cast<int64_t>(kBatch));
}

absl::StatusOr<std::unique_ptr<CipherEngine>> MakeTested(Cipher cipher, AeadBackend backend) {
  ASSIGN_OR_RETURN(auto engine, MakeCipherEngine(cipher, backend));
  RETURN_IF_ERROR(SelfTestCipher(*engine, cipher, AeadBackendName(backend)));
  return engine;
}

// The backend for one cipher; the error is that of the last one tried.
absl::StatusOr<CipherSpeed> ChooseBackend(Cipher cipher, std::optional<AeadBackend> wanted,
                                          const std::function<Instant()>& clock) {
  std::optional<CipherSpeed> best;
  absl::Status last = absl::OkStatus();
  for (const AeadBackend backend : kAllAeadBackends) {
    if (wanted && backend != *wanted) continue;
    auto engine = MakeTested(cipher, backend);
    if (!engine.ok()) {
      last = engine.status();
      if (!absl::IsUnimplemented(last)) spdlog::error("{}; not used", Message(last));
      continue;
    }
    const CipherSpeed speed = MeasureCipher(**engine, cipher, backend, clock);
    spdlog::debug("{} by {}: {} ns for 64 bytes, {} ns for 1,420", CipherName(cipher),
                  AeadBackendName(backend), speed.ns_64, speed.ns_1420);
    if (!best || speed.sum() < best->sum()) best = speed;
  }
  if (!best) return last;
  return *best;
}

}  // namespace

CipherSpeed MeasureCipher(CipherEngine& engine, Cipher cipher, AeadBackend backend,
                          const std::function<Instant()>& clock) {
  return {.cipher = cipher,
          .backend = backend,
          .ns_64 = TimeOfSealing(engine, cipher, 64, clock),
          .ns_1420 = TimeOfSealing(engine, cipher, 1420, clock)};
}

absl::StatusOr<AeadChoice> ChooseAeads(std::optional<AeadBackend> wanted, uint32_t workers,
                                       const std::function<Instant()>& clock) {
  AeadChoice out;
  for (const Cipher cipher : kAllCiphers) {
    const auto chosen = ChooseBackend(cipher, wanted, clock);
    if (chosen.ok()) {
      out.ciphers.push_back(*chosen);
    } else if (cipher == Cipher::kChaCha20Poly1305) {
      return chosen.status();
    }
  }
  for (uint32_t i = 0; i < workers; ++i) {
    Aead::Engines engines;
    for (const CipherSpeed& chosen : out.ciphers) {
      ASSIGN_OR_RETURN(engines[static_cast<size_t>(chosen.cipher)],
                       MakeTested(chosen.cipher, chosen.backend));
    }
    out.aeads.push_back(std::make_unique<Aead>(std::move(engines)));
  }
  return out;
}

}  // namespace omni
