// SPDX-License-Identifier: Apache-2.0
// A network namespace of one's own, in which offloads are tried without anybody noticing.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"

namespace omni {

// Moves this process into a new network namespace with a loopback interface that is up. Needs
// CAP_SYS_ADMIN. For a process with one thread.
absl::Status EnterPrivateNetwork();

// Runs `work` in a child process in a private network; gives what it returned. UNAVAILABLE when
// there is no such network to be had, when the child died, or when it took longer than `limit`. For
// a process with one thread.
absl::StatusOr<std::string> RunInPrivateNetwork(const std::function<std::string()>& work,
                                                Duration limit);

}  // namespace omni
