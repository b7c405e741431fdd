// SPDX-License-Identifier: Apache-2.0
// `omnictl identity show|new|export`: works on the key files alone; no daemon has to run.
#pragma once

#include <CLI/App.hpp>

#include "cli/output.h"

namespace omni {

// Adds the command to `app`. `format` is read when the command runs, and must outlive `app`. Errors
// are printed to stderr and thrown as CLI::RuntimeError(1).
void AddIdentityCommand(CLI::App& app, const OutputFormat& format);

}  // namespace omni
