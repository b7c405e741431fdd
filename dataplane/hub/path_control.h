// SPDX-License-Identifier: Apache-2.0
// PathControl: who carries out what the controller wishes of the packets' ways. The dataplane's
// main has the one of XDP, the kernel and the workers; tests have one that remembers. SetWishes()
// is called by one at a time, without the hub's lock, WayTo() by any, with it.
#pragma once

#include <string>

#include "common/paths.h"
#include "dataplane/core/peer.h"

namespace omni {

class PathControl {
 public:
  virtual ~PathControl() = default;
  // Replaces all that was wished before. Never fails: what cannot be had is not, and its state says
  // why.
  virtual void SetWishes(const PathWishes& wishes) = 0;

  // How bulk session data goes there now, and why, for people.
  struct Way {
    std::string name;  // "socket", "afxdp"
    std::string why;
  };
  virtual Way WayTo(const UdpPath& path) const = 0;
};

}  // namespace omni
