// SPDX-License-Identifier: Apache-2.0
// Underlay: what the hub asks about the interfaces under the tunnel. dataplane/setup has the
// netlink one; tests have one that answers what they want.
#pragma once

#include <cstdint>

#include "common/ip.h"

namespace omni {

class Underlay {
 public:
  virtual ~Underlay() = default;
  // The largest MTU of all interfaces that may carry the tunnel; 0 when there are none. Any thread.
  virtual uint32_t LargestMtu() const = 0;
  // What the interface towards `remote` takes; LargestMtu() when there is no way to
  // it. Asks the kernel: for the ticking thread, like TakeChange().
  virtual uint32_t MtuTowards(const Endpoint& remote) = 0;
  // Whether interfaces or routes have changed since the last call.
  virtual bool TakeChange() = 0;
};

}  // namespace omni
