// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "cli/app.h"

int main(int argc, char** argv) {
  // gRPC logs to stderr what omnictl says better itself.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  return omni::RunOmnictl(std::vector<std::string>(argv + 1, argv + argc), std::cout, std::cerr);
}
