// SPDX-License-Identifier: Apache-2.0
#include "common/status.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace omni {

absl::Status ErrnoStatus(std::string_view operation_and_object, int error) {
  return {absl::ErrnoToStatusCode(error),
          fmt::format("{}: {}", operation_and_object, std::strerror(error))};
}

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  return {status.code(), fmt::format("{}: {}", context, Message(status))};
}

void CheckFailed(const char* condition, const char* file, int line) {
  std::fprintf(stderr, "%s:%d: invariant broken: %s\n", file, line, condition);
  std::abort();
}

}  // namespace omni
