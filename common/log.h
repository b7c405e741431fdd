// SPDX-License-Identifier: Apache-2.0
// Logging of the daemons: spdlog to stderr, one line a message, with the priority prefix that
// journald reads when stderr is the journal. Never on the packet path, never a secret.
#pragma once

#include <spdlog/spdlog.h>

#include <string_view>

#include "absl/status/status.h"

namespace omni {

// Sets up the process-wide logger. INVALID_ARGUMENT unless level is trace, debug, info, warn or
// error.
absl::Status InitLogging(std::string_view program, std::string_view level);

}  // namespace omni
