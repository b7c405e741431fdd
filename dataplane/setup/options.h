// SPDX-License-Identifier: Apache-2.0
// Options: the command line of omni-dataplane. What the controller decides is not here; this is
// what must be known before privileges are dropped.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "common/paths.h"
#include "dataplane/core/aead.h"
#include "dataplane/io/kernel_offload.h"

namespace omni {

// Where packets are opened: at XDP on interfaces that have it natively, at TC on others; or at TC.
enum class InKernelHook : uint8_t { kAuto, kTc };

struct Options {
  std::string socket = "/run/omni-dataplane/dataplane.sock";
  std::string user = "omni-dataplane";
  std::string controller_user = "omni";
  std::string tun = "omni0";
  uint16_t listen_port = 51900;
  uint32_t workers = 0;  // 0: one per CPU, at most 16
  InKernelHook in_kernel_hook = InKernelHook::kAuto;
  std::optional<AeadBackend> aead;  // unset: for each cipher the fastest
  std::set<KernelOffload> disabled_offloads;
  PathSettings paths;  // until a controller says otherwise
  std::string log_level = "info";
};

// LIMIT: 16 workers: as many channels as a session has.
inline constexpr uint32_t kMaxWorkers = 16;

struct ParsedOptions {
  Options options;
  std::optional<int>
      exit_code;  // set: --help, --version or a usage error was printed; exit with it
};
ParsedOptions ParseOptions(int argc, char** argv);

}  // namespace omni
