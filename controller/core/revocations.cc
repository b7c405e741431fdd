// SPDX-License-Identifier: Apache-2.0
#include "controller/core/revocations.h"

#include <fmt/format.h>

#include "common/file.h"
#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: all that a list holds, and the frames around each.
constexpr size_t kMaxFile = kMaxRevocations * (kMaxRevocationBytes + 128);

}  // namespace

absl::Status Revocations::Load() {
  const auto content = ReadFile(file_, kMaxFile, FileAccess::kOwnerOnly);
  if (absl::IsNotFound(content.status())) return absl::OkStatus();
  RETURN_IF_ERROR(content.status());
  signal::v1::Delta saved;
  if (!saved.ParseFromString(*content)) {
    return absl::InvalidArgumentError(fmt::format(
        "read {}: it holds no revocations; remove it to let the Nucleus tell them anew", file_));
  }
  for (const auto& message : saved.revocations()) {
    const auto outcome = list_.Take(message);
    if (outcome.entry == nullptr) spdlog::info("{}: left out: {}", file_, outcome.detail);
  }
  return absl::OkStatus();
}

absl::Status Revocations::Save() const {
  signal::v1::Delta saved;
  for (const auto& [node, entry] : list_.entries()) *saved.add_revocations() = entry.message;
  return WriteFileAtomically(file_, saved.SerializeAsString(), 0600, Overwrite::kYes);
}

RevocationList::Outcome Revocations::Take(const signal::v1::SignedRevocation& message) {
  auto outcome = list_.Take(message);
  // Told once: whoever can send them can send many.
  if (outcome.entry == nullptr && list_.refused() == 1) {
    spdlog::warn("a revocation is refused: {}; more are only counted", outcome.detail);
  }
  return outcome;
}

}  // namespace omni
