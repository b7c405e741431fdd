// SPDX-License-Identifier: Apache-2.0
// The self-test of the kernel's offloads, in the privileged minute: each is used as the ports use
// it, between the kernel's own sockets and ours, and what arrives is compared byte for byte. It
// runs in a private network namespace, so that nobody notices; where none can be had, UDP is tried
// on the loopback interface, and the TUN's offloads are taken on trust.
#pragma once

#include <set>

#include "absl/status/status.h"
#include "dataplane/io/kernel_offload.h"

namespace omni {

// What holds for all that is not in `disabled`. Some milliseconds.
OffloadFindings CheckOffloads(const std::set<KernelOffload>& disabled);

// Results of one test in one address family or in several: UNAVAILABLE is "could not be tried", any
// other error "does not work".
class CheckResult {
 public:
  CheckResult() = default;
  explicit CheckResult(const absl::Status& first) { Add(first); }
  // Of one more family: a failure counts more than a success, a success more than nothing.
  void Add(const absl::Status& status);
  OffloadFinding Finding() const;

 private:
  bool passed_ = false;
  absl::Status missing_ = absl::UnavailableError("not tried");
  absl::Status failure_;
};

// The parts, in the network in which the process is.
void CheckUdpOffloads(OffloadFindings& findings);
void CheckTunOffloads(OffloadFindings& findings);

}  // namespace omni
