// SPDX-License-Identifier: Apache-2.0
// What every omnictl command gets: the global options, where to print, and how a command fails.
// CLI11 reports by exception, so commands leave by the same way and read as straight lines; the one
// place that catches is RunOmnictl(). Owned by RunOmnictl(), one thread.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/output.h"

namespace omni {

// Documented in `omnictl --help`; stable.
enum class ExitCode : uint8_t {
  kOk = 0,
  kFailed = 1,
  kUsage = 2,        // wrong command line, or an argument that the controller refuses
  kUnreachable = 3,  // no controller behind the socket, or no permission to use it
  kNotFound = 4,
  kConflict = 5,     // exists already, or is not in a state that allows this
  kNoDataplane = 6,  // the controller runs, the dataplane does not
  kTimeout = 7,
};

struct Context {
  std::string socket = "/run/omni/controller.sock";
  OutputFormat format = OutputFormat::kTable;
  double timeout_s = 5;
  std::ostream* out = nullptr;  // not owned
  std::ostream* err = nullptr;  // not owned
};

class CommandError : public CLI::RuntimeError {
 public:
  CommandError(ExitCode code, const std::string& message)
      : CLI::RuntimeError(message, static_cast<int>(code)) {}
};

}  // namespace omni
