// SPDX-License-Identifier: Apache-2.0
// PathSwitch: which ways packets take: what the command line said, and over it what the controller
// wishes now. Tells XDP, the in-kernel path and the workers when it changes; none of them ends a
// session by it. Thread-safe.
#pragma once

#include <mutex>
#include <vector>

#include "common/paths.h"
#include "dataplane/hub/path_control.h"
#include "dataplane/kernel/kernel_path.h"
#include "dataplane/worker/worker.h"
#include "dataplane/xdp/xdp_path.h"

namespace omni {

class PathSwitch final : public PathControl {
 public:
  // All outlive the switch; no kernel path: null.
  PathSwitch(const PathSettings& start, XdpPath& xdp, KernelPath* kernel,
             std::vector<Worker*> workers);

  void SetWishes(const PathWishes& wishes) override;
  Way WayTo(const UdpPath& path) const override;

  // In force.
  PathSettings settings() const;

 private:
  const PathSettings start_;
  XdpPath& xdp_;
  KernelPath* kernel_;
  const std::vector<Worker*> workers_;
  mutable std::mutex mutex_;
  PathSettings settings_;
};

}  // namespace omni
