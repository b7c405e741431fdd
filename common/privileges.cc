// SPDX-License-Identifier: Apache-2.0
#include "common/privileges.h"

#include <dirent.h>
#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "absl/cleanup/cleanup.h"
#include "common/status.h"

namespace omni {
namespace {

absl::Status CheckHeld(const std::vector<int>& keep) {
  cap_t current = cap_get_proc();
  if (current == nullptr) return ErrnoStatus("read own capabilities");
  const absl::Cleanup free_current = [current] { cap_free(current); };
  for (const int capability : keep) {
    cap_flag_value_t held = CAP_CLEAR;
    cap_get_flag(current, capability, CAP_PERMITTED, &held);
    if (held != CAP_SET) {
      char* name = cap_to_name(capability);
      const absl::Cleanup free_name = [name] { cap_free(name); };
      return absl::PermissionDeniedError(
          fmt::format("capability {} is missing: start as root, or give it by systemd", name));
    }
  }
  return absl::OkStatus();
}

absl::Status DropBoundingSet() {
  // CAP_LAST_CAP of the headers may be older than the kernel: go on until the kernel says EINVAL.
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; ++capability) {
    if (prctl(PR_CAPBSET_DROP, capability) != 0 && errno != EPERM) {
      return ErrnoStatus("drop from the capability bounding set");
    }
  }
  if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return ErrnoStatus("clear ambient capabilities");
  }
  return absl::OkStatus();
}

absl::Status SetExactly(const std::vector<int>& keep) {
  cap_t wanted = cap_init();  // all clear
  if (wanted == nullptr) return ErrnoStatus("cap_init");
  const absl::Cleanup free_wanted = [wanted] { cap_free(wanted); };
  const int count = static_cast<int>(keep.size());
  if (count > 0 && (cap_set_flag(wanted, CAP_PERMITTED, count, keep.data(), CAP_SET) != 0 ||
                    cap_set_flag(wanted, CAP_EFFECTIVE, count, keep.data(), CAP_SET) != 0)) {
    return ErrnoStatus("cap_set_flag");
  }
  if (cap_set_proc(wanted) != 0) return ErrnoStatus("set own capabilities");
  return absl::OkStatus();
}

absl::Status BecomeUser(const PrivilegeDrop& drop) {
  ASSIGN_OR_RETURN(const User user, LookupUser(drop.user));
  if (prctl(PR_SET_KEEPCAPS, 1) != 0) return ErrnoStatus("prctl PR_SET_KEEPCAPS");
  if (setgroups(drop.extra_groups.size(), drop.extra_groups.data()) != 0) {
    return ErrnoStatus("setgroups");
  }
  if (setresgid(user.gid, user.gid, user.gid) != 0) return ErrnoStatus("setgid " + drop.user);
  if (setresuid(user.uid, user.uid, user.uid) != 0) return ErrnoStatus("setuid " + drop.user);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<User> LookupUser(const std::string& name) {
  const passwd* entry = getpwnam(name.c_str());
  if (entry == nullptr) {
    return absl::NotFoundError(fmt::format(
        "user \"{}\" does not exist; create it: useradd --system --no-create-home {}", name, name));
  }
  return User{entry->pw_uid, entry->pw_gid, name};
}

absl::Status DropPrivileges(const PrivilegeDrop& drop) {
  if (ThreadCount() != 1) {
    return absl::InternalError("privileges must be dropped before threads exist");
  }
  RETURN_IF_ERROR(CheckHeld(drop.keep));
  RETURN_IF_ERROR(DropBoundingSet());
  if (geteuid() == 0) RETURN_IF_ERROR(BecomeUser(drop));
  RETURN_IF_ERROR(SetExactly(drop.keep));
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return ErrnoStatus("set no_new_privs");
  if (prctl(PR_SET_DUMPABLE, 0) != 0) return ErrnoStatus("make the process undumpable");
  return absl::OkStatus();
}

int ThreadCount() {
  DIR* tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return 0;
  const absl::Cleanup close_tasks = [tasks] { closedir(tasks); };
  int count = 0;
  while (const dirent* entry = readdir(tasks)) count += entry->d_name[0] != '.' ? 1 : 0;
  return count;
}

}  // namespace omni
