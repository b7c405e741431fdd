// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/aead.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/status.h"
#include "dataplane/core/aead_backends.h"

namespace omni {
namespace {

// Calls `one` for each run of jobs with the same cipher.
template <typename One>
void ForEachRun(std::span<AeadJob> jobs, One one) {
  while (!jobs.empty()) {
    const Cipher cipher = jobs.front().cipher;
    const auto end =
        std::ranges::find_if(jobs, [cipher](const AeadJob& job) { return job.cipher != cipher; });
    const auto count = static_cast<size_t>(end - jobs.begin());
    one(cipher, jobs.first(count));
    jobs = jobs.subspan(count);
  }
}

}  // namespace

Aead::Aead(Engines engines) : engines_(std::move(engines)) {
  OMNI_CHECK(Supports(Cipher::kChaCha20Poly1305));
}

void Aead::Seal(std::span<AeadJob> jobs) {
  ForEachRun(jobs,
             [this](Cipher cipher, std::span<AeadJob> run) { engines_[Index(cipher)]->Seal(run); });
}

void Aead::Open(std::span<AeadJob> jobs) {
  ForEachRun(jobs,
             [this](Cipher cipher, std::span<AeadJob> run) { engines_[Index(cipher)]->Open(run); });
}

void Aead::Forget(uint64_t channel_id) {
  for (const auto& engine : engines_) {
    if (engine) engine->Forget(channel_id);
  }
}

std::string_view AeadBackendName(AeadBackend backend) {
  switch (backend) {
    case AeadBackend::kIpsecMb:
      return "ipsec-mb";
    case AeadBackend::kOpenSsl:
      return "openssl";
    case AeadBackend::kLibsodium:
      return "libsodium";
  }
  return "";
}

absl::StatusOr<std::unique_ptr<CipherEngine>> MakeCipherEngine(Cipher cipher, AeadBackend backend) {
  std::unique_ptr<CipherEngine> out;
  if (backend == AeadBackend::kLibsodium) out = MakeSodiumEngine(cipher);
  if (backend == AeadBackend::kOpenSsl) out = MakeOpenSslEngine(cipher);
#ifdef OMNI_HAVE_IPSEC_MB
  if (backend == AeadBackend::kIpsecMb) out = MakeIpsecMbEngine(cipher);
#endif
  if (out) return out;
  return absl::UnimplementedError(fmt::format("{} by {}: not available on this machine",
                                              CipherName(cipher), AeadBackendName(backend)));
}

std::vector<AeadBackend> AvailableAeadBackends(Cipher cipher) {
  std::vector<AeadBackend> out;
  for (const AeadBackend backend : kAllAeadBackends) {
    if (MakeCipherEngine(cipher, backend).ok()) out.push_back(backend);
  }
  return out;
}

absl::StatusOr<std::unique_ptr<Aead>> MakeAead(AeadBackend backend) {
  Aead::Engines engines;
  for (const Cipher cipher : kAllCiphers) {
    auto engine = MakeCipherEngine(cipher, backend);
    if (engine.ok()) {
      engines[static_cast<size_t>(cipher)] = *std::move(engine);
    } else if (cipher == Cipher::kChaCha20Poly1305) {
      return engine.status();
    }
  }
  return std::make_unique<Aead>(std::move(engines));
}

}  // namespace omni
