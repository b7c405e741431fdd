// SPDX-License-Identifier: Apache-2.0
// LinkControl: what the hub needs of the TUN as a network interface. dataplane/setup has the
// netlink one; tests have one that remembers.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "common/ip.h"

namespace omni {

struct LinkState {
  std::vector<InterfaceAddress> addresses;
  uint32_t mtu = 0;
  std::vector<IpPrefix> routes;  // to be sent into the TUN
  bool up = true;

  friend bool operator==(const LinkState&, const LinkState&) = default;
};

class LinkControl {
 public:
  virtual ~LinkControl() = default;
  // Makes the interface so, with nothing else of ours on it. The error names object and
  // cause. A route that the kernel refuses is logged and no error: the packets' way inside is
  // right, only the host does not know it. Routes of others are left alone.
  virtual absl::Status Apply(const LinkState& wanted) = 0;
  // Whether the interface was taken down and up again since the last call: the kernel forgot routes
  // and IPv6 addresses, and the next Apply() gives them back.
  virtual bool TakeReset() = 0;
};

}  // namespace omni
