// SPDX-License-Identifier: Apache-2.0
#include "common/toml/checks.h"

#include <fmt/format.h>

#include "common/ip.h"

namespace omni {

std::string AnyString(const std::string& value) {
  return value.find('\0') == std::string::npos ? "" : "must not contain a zero byte";
}

std::string CheckPath(const std::string& path) {
  // The daemon's working directory is nobody's business, so that a relative path has no meaning.
  if (path.empty() || path.front() != '/') {
    return fmt::format("\"{}\" is not an absolute path", path);
  }
  return AnyString(path);
}

std::string CheckListen(const std::string& value) {
  if (value.empty() || Endpoint::Parse(value)) return "";
  return fmt::format("\"{}\" is not IP:PORT, nor empty for off", value);
}

std::string CheckLogLevel(const std::string& level) {
  for (const char* known : {"trace", "debug", "info", "warn", "error"}) {
    if (level == known) return "";
  }
  return fmt::format("\"{}\" is not one of trace, debug, info, warn, error", level);
}

}  // namespace omni
