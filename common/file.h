// SPDX-License-Identifier: Apache-2.0
// Files that must be whole: bounded reading with a check on permissions, and atomic writing (a
// temporary file in the same directory, fsync, rename, fsync of the directory), so that a crash
// leaves the old content or the new.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace omni {

enum class FileAccess {
  kAny,
  kOwnerOnly,  // PERMISSION_DENIED unless it is a regular file that group and others cannot touch
};

// The content of `path`. INVALID_ARGUMENT when it is larger than `max_bytes`; errno codes
// otherwise.
absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes, FileAccess access);

enum class Overwrite { kYes, kNo };

// Writes all of `content` under `path`. With Overwrite::kNo an existing file is ALREADY_EXISTS and
// stays untouched.
absl::Status WriteFileAtomically(const std::string& path, std::string_view content, mode_t mode,
                                 Overwrite overwrite);

}  // namespace omni
