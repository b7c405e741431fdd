// SPDX-License-Identifier: Apache-2.0
// HostLinks: the host's Ethernet interfaces and their addresses, and whether anything of it, of
// its routes or of its neighbours changed. Needs no privilege. Owned by XdpPath; one thread at a
// time.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ip.h"
#include "dataplane/io/file_descriptor.h"

namespace omni {

// The tag with which a VLAN's frames leave by the interface below it.
struct VlanTag {
  uint32_t below = 0;  // interface index
  uint16_t id = 0;

  friend bool operator==(const VlanTag&, const VlanTag&) = default;
};

struct HostInterface {
  uint32_t index = 0;
  std::string name;
  std::string driver;  // "veth", "ice"; empty: unknown
  bool up = false;
  uint32_t mtu = 0;
  uint32_t rx_queues = 1;
  std::array<uint8_t, 6> mac{};
  std::optional<VlanTag> vlan;
  std::vector<IpAddress> addresses;

  friend bool operator==(const HostInterface&, const HostInterface&) = default;
};

class HostLinks {
 public:
  static absl::StatusOr<HostLinks> Open();

  // Whether anything changed since the last call. The numbers of queues are not news to the kernel:
  // they are looked at by Interfaces() alone.
  bool TakeChange();

  std::vector<HostInterface> Interfaces() const { return Look().interfaces; }
  // The same, and the addresses of the loopback interface, which none of them has.
  struct View {
    std::vector<HostInterface> interfaces;
    std::set<IpAddress> loopback;
  };
  View Look() const;

 private:
  HostLinks(FileDescriptor monitor, FileDescriptor query)
      : monitor_(std::move(monitor)), query_(std::move(query)) {}

  FileDescriptor monitor_;
  FileDescriptor query_;  // any socket will do for questions about interfaces
};

}  // namespace omni
