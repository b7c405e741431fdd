// SPDX-License-Identifier: Apache-2.0
// RunOmnictl: the whole program, from arguments to exit code, printing to the given streams so that
// tests can run it in their own process. `arguments` is without the program's name.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace omni {

int RunOmnictl(std::vector<std::string> arguments, std::ostream& out, std::ostream& err);

}  // namespace omni
