// SPDX-License-Identifier: Apache-2.0
// KernelOffload: the abilities of the kernel that the ports use and can do without. Each has a
// switch, is tried at start, and is given up for a while when the kernel refuses it at run time;
// OffloadReport says which are on and why. Made by main() before the workers run; Describe() may be
// called from any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/io/offload_backoff.h"

namespace omni {

enum class KernelOffload : uint8_t {
  kUdpGso,            // UDP_SEGMENT: a train of datagrams in one message
  kUdpGro,            // UDP_GRO: several received datagrams in one message
  kTunTso,            // TCP super-packets read from the TUN
  kTunUso,            // UDP super-packets read from the TUN
  kTunTcpCoalescing,  // TCP super-packets written to the TUN
  kTunUdpCoalescing,  // UDP super-packets written to the TUN
};

inline constexpr std::array<std::string_view, 6> kOffloadNames = {
    "udp_gso", "udp_gro", "tun_tso", "tun_uso", "tun_tcp_coalescing", "tun_udp_coalescing"};
inline constexpr size_t kOffloads = kOffloadNames.size();

// By name, with hyphens or underscores.
std::optional<KernelOffload> OffloadByName(std::string_view name);

// What was found about one offload at start.
struct OffloadFinding {
  bool active = true;
  std::string reason;  // for people
};

class OffloadFindings {
 public:
  OffloadFinding& operator[](KernelOffload offload) {
    return findings_[static_cast<size_t>(offload)];
  }
  const OffloadFinding& operator[](KernelOffload offload) const {
    return findings_[static_cast<size_t>(offload)];
  }
  bool active(KernelOffload offload) const { return (*this)[offload].active; }

 private:
  std::array<OffloadFinding, kOffloads> findings_;
};

class OffloadReport {
 public:
  explicit OffloadReport(OffloadFindings found) : found_(std::move(found)) {}

  // What a port's use of an offload is decided by; outlives the report.
  void Watch(KernelOffload offload, const OffloadBackoff* backoff) {
    watched_[static_cast<size_t>(offload)].push_back(backoff);
  }

  struct Line {
    std::string name;
    bool active = false;
    std::string reason;
    uint64_t refusals = 0;  // by the kernel, at run time
  };
  // All offloads, as of now.
  std::vector<Line> Describe() const;

 private:
  Line DescribeOne(KernelOffload offload) const;

  const OffloadFindings found_;
  std::array<std::vector<const OffloadBackoff*>, kOffloads> watched_;
};

}  // namespace omni
