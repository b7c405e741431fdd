// SPDX-License-Identifier: Apache-2.0
// Giving up privileges, once, before any thread exists (capset acts on the calling thread; gRPC
// starts threads).
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace omni {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
};

// NOT_FOUND with the command that creates the user.
absl::StatusOr<User> LookupUser(const std::string& name);

// What stays after the drop.
struct PrivilegeDrop {
  std::string user;       // become this user, when started as root; otherwise the user stays
  std::vector<int> keep;  // capabilities (CAP_NET_ADMIN, ...) that stay permitted and effective
  std::vector<gid_t> extra_groups;  // supplementary groups to hold
};

// Becomes the user, keeps exactly the capabilities named, empties the bounding, inheritable and
// ambient sets, sets no_new_privs and makes the process undumpable (no core file, no ptrace by its
// own user). Must be called with one thread. A capability in `keep` that is not held is
// PERMISSION_DENIED and names it.
absl::Status DropPrivileges(const PrivilegeDrop& drop);

// Number of threads of this process.
int ThreadCount();

}  // namespace omni
