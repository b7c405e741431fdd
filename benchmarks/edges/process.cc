// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/edges/process.h"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>

namespace omni {

absl::StatusOr<uint64_t> ResidentBytes(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/statm", pid));
  uint64_t all = 0;
  uint64_t resident = 0;
  if (!(file >> all >> resident)) {
    return absl::UnavailableError(fmt::format("memory of process {}: not readable", pid));
  }
  return resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

absl::StatusOr<Duration> CpuTime(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/schedstat", pid));
  int64_t running = 0;
  if (!(file >> running)) {
    return absl::UnavailableError(fmt::format("processor time of process {}: not readable", pid));
  }
  return Duration(running);
}

}  // namespace omni
