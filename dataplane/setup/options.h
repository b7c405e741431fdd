// SPDX-License-Identifier: Apache-2.0
// Options: the command line of omni-dataplane. What the controller decides is not here; this is
// what must be known before privileges are dropped.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "dataplane/core/aead.h"
#include "dataplane/io/kernel_offload.h"
#include "dataplane/xdp/policy.h"

namespace omni {

// Whether small packets are opened and sealed inside the kernel. Auto: if it can be.
enum class InKernel : uint8_t { kAuto, kOn, kOff };

struct Options {
  std::string socket = "/run/omni-dataplane/dataplane.sock";
  std::string user = "omni-dataplane";
  std::string controller_user = "omni";
  std::string tun = "omni0";
  uint16_t listen_port = 51900;
  uint32_t workers = 0;  // 0: one per CPU, at most 16
  InKernel in_kernel = InKernel::kAuto;
  uint32_t in_kernel_threshold = 512;
  std::optional<AeadBackend> aead;  // unset: for each cipher the fastest
  std::set<KernelOffload> disabled_offloads;
  XdpOptions xdp;
  std::string log_level = "info";
};

// LIMIT: a packet of the kernel's path is to fit through any path without a look at its MTU: 1,280
// bytes less the outer headers of IPv6.
inline constexpr uint32_t kMaxInKernelThreshold = 1200;

// LIMIT: 16 workers: as many channels as a session has.
inline constexpr uint32_t kMaxWorkers = 16;

struct ParsedOptions {
  Options options;
  std::optional<int>
      exit_code;  // set: --help, --version or a usage error was printed; exit with it
};
ParsedOptions ParseOptions(int argc, char** argv);

}  // namespace omni
