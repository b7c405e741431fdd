// SPDX-License-Identifier: Apache-2.0
#include "common/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "common/status.h"

namespace omni {
namespace {

absl::Status WriteAll(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("write " + path);
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status SyncDirectory(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus("open " + directory);
  const absl::Cleanup close_fd = [fd] { close(fd); };
  if (fsync(fd) != 0) return ErrnoStatus("fsync " + directory);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, size_t max_bytes, FileAccess access) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus("open " + path);
  const absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat st {};
  if (fstat(fd, &st) != 0) return ErrnoStatus("stat " + path);
  if (!S_ISREG(st.st_mode)) {
    return absl::InvalidArgumentError(fmt::format("read {}: not a regular file", path));
  }
  if (access == FileAccess::kOwnerOnly && (st.st_mode & 077) != 0) {
    return absl::PermissionDeniedError(
        fmt::format("read {}: mode {:04o} lets others at it; run: chmod 600 {}", path,
                    st.st_mode & 07777U, path));
  }
  // Not the most that may be read: malloc would take the size of a block that was freed for one
  // that the program needs again and again, and give as much back to nobody.
  std::string content(std::min(static_cast<size_t>(st.st_size), max_bytes) + 1, '\0');
  size_t size = 0;
  for (;;) {
    if (size == content.size() && size > max_bytes) break;
    if (size == content.size()) content.resize(std::min(size * 2, max_bytes + 1));  // it grows
    const ssize_t n = read(fd, content.data() + size, content.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoStatus("read " + path);
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  if (size > max_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("read {}: larger than {} bytes", path, max_bytes));
  }
  content.resize(size);
  return content;
}

absl::Status WriteFileAtomically(const std::string& path, std::string_view content, mode_t mode,
                                 Overwrite overwrite) {
  const std::string temporary = fmt::format("{}.{:08x}.tmp", path, randombytes_random());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return ErrnoStatus("create " + temporary);
  absl::Cleanup remove_temporary = [&temporary] { unlink(temporary.c_str()); };
  {
    const absl::Cleanup close_fd = [fd] { close(fd); };
    if (fchmod(fd, mode) != 0) return ErrnoStatus("chmod " + temporary);
    RETURN_IF_ERROR(WriteAll(fd, content, temporary));
    if (fsync(fd) != 0) return ErrnoStatus("fsync " + temporary);
  }
  // link() fails when the target exists, rename() replaces it: both are atomic.
  if (overwrite == Overwrite::kNo) {
    if (link(temporary.c_str(), path.c_str()) != 0) return ErrnoStatus("create " + path);
  } else {
    if (rename(temporary.c_str(), path.c_str()) != 0) return ErrnoStatus("rename to " + path);
    std::move(remove_temporary).Cancel();
  }
  return SyncDirectory(DirectoryOf(path));
}

}  // namespace omni
