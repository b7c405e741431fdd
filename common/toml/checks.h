// SPDX-License-Identifier: Apache-2.0
// What is wrong with values that configuration files of several daemons hold; empty when nothing.
// Pure; any thread.
#pragma once

#include <string>

namespace omni {

std::string AnyString(const std::string& value);
std::string CheckPath(const std::string& path);
// IP:PORT, or empty for off.
std::string CheckListen(const std::string& value);
std::string CheckLogLevel(const std::string& level);

}  // namespace omni
