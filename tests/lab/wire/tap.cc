// SPDX-License-Identifier: Apache-2.0
#include "tests/lab/wire/tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "common/status.h"

namespace omni {
namespace {

absl::Status Enter(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus("open " + path);
  const int result = setns(fd, CLONE_NEWNET);
  const int error = errno;
  close(fd);
  return result == 0 ? absl::OkStatus() : ErrnoStatus("enter " + path, error);
}

}  // namespace

absl::StatusOr<Tap> Tap::Open(const std::string& where) {
  const size_t slash = where.find('/');
  const std::string name = slash == std::string::npos ? "" : where.substr(slash + 1);
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return absl::InvalidArgumentError(fmt::format("{}: must be NAMESPACE/DEVICE", where));
  }
  // The device is made where this thread is.
  RETURN_IF_ERROR(Enter("/run/netns/" + where.substr(0, slash)));
  Tap tap(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (tap.fd_ < 0) return ErrnoStatus("open /dev/net/tun");
  ifreq request{};
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI);
  std::memcpy(request.ifr_name, name.data(), name.size());
  if (ioctl(tap.fd_, TUNSETIFF, &request) != 0) return ErrnoStatus("make TAP " + where);
  return tap;
}

Tap::Tap(Tap&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Tap::~Tap() {
  if (fd_ >= 0) close(fd_);
}

std::span<const uint8_t> Tap::Read(std::span<uint8_t> buffer) const {
  const ssize_t n = read(fd_, buffer.data(), buffer.size());
  return n > 0 ? buffer.first(static_cast<size_t>(n)) : buffer.first(0);
}

void Tap::Write(std::span<const uint8_t> frame) const {
  (void)!write(fd_, frame.data(), frame.size());
}

}  // namespace omni
