// SPDX-License-Identifier: Apache-2.0
// What the kernel says of another process.
#pragma once

#include <sys/types.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "common/clock.h"

namespace omni {

absl::StatusOr<uint64_t> ResidentBytes(pid_t pid);
// Processor time of its first thread.
absl::StatusOr<Duration> CpuTime(pid_t pid);

}  // namespace omni
