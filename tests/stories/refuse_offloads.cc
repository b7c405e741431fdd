// SPDX-License-Identifier: Apache-2.0
// A library to preload into the dataplane: a kernel that refuses offloads. Each is refused while a
// file of its name stands in the directory $OMNI_REFUSE, from one call to the next.
//
//   udp_gso              sendmsg, sendmmsg with UDP_SEGMENT        EIO
//   udp_gro              setsockopt UDP_GRO                        ENOPROTOOPT
//   tun_tso, tun_uso     ioctl TUNSETOFFLOAD with it               EINVAL
//   tun_tcp_coalescing   writev of a TCP super-packet              EINVAL
//   tun_udp_coalescing   writev of a UDP super-packet              EINVAL
#include <dlfcn.h>
#include <linux/if_tun.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <string>

namespace {

// As the kernel has them; Debian 12's headers do not know all of them.
constexpr int kUdpSegment = 103;
constexpr int kUdpGro = 104;
constexpr unsigned long kUso = 0x20 | 0x40;
constexpr unsigned long kTso = TUN_F_TSO4 | TUN_F_TSO6;
constexpr size_t kVirtioHeader = 10;

bool Refuses(const char* offload) {
  const char* directory = std::getenv("OMNI_REFUSE");
  return directory != nullptr &&
         access((std::string(directory) + "/" + offload).c_str(), F_OK) == 0;
}

int Fail(int error) {
  errno = error;
  return -1;
}

template <typename Function>
Function* Real(const char* name) {
  // SAFETY: the next library's function of the name has the type that its header says.
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

bool IsTrain(const msghdr& message) {
  // SAFETY: the macros want a header that could be changed, and only read it.
  auto* first = const_cast<msghdr*>(&message);
  for (cmsghdr* c = CMSG_FIRSTHDR(first); c != nullptr; c = CMSG_NXTHDR(first, c)) {
    if (c->cmsg_level == SOL_UDP && c->cmsg_type == kUdpSegment) return true;
  }
  return false;
}

// The GSO type of the virtio header that a write begins with, 0 when there is none.
uint8_t GsoType(const iovec* vectors, int count) {
  if (count < 2 || vectors[0].iov_len <= kVirtioHeader) return 0;
  const auto* header = static_cast<const uint8_t*>(vectors[0].iov_base);
  return header[0] == 1 ? header[1] : 0;
}

}  // namespace

extern "C" {

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  static auto* const real = Real<ssize_t(int, const msghdr*, int)>("sendmsg");
  if (IsTrain(*message) && Refuses("udp_gso")) return Fail(EIO);
  return real(fd, message, flags);
}

int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  static auto* const real = Real<int(int, mmsghdr*, unsigned, int)>("sendmmsg");
  unsigned before = 0;  // what comes before the first train
  while (before < count && !IsTrain(messages[before].msg_hdr)) ++before;
  if (before == count || !Refuses("udp_gso")) return real(fd, messages, count, flags);
  return before == 0 ? Fail(EIO) : real(fd, messages, before, flags);
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t length) noexcept {
  static auto* const real = Real<int(int, int, int, const void*, socklen_t)>("setsockopt");
  if (level == SOL_UDP && name == kUdpGro && Refuses("udp_gro")) return Fail(ENOPROTOOPT);
  return real(fd, level, name, value, length);
}

int ioctl(int fd, unsigned long request, ...) noexcept {
  static auto* const real = Real<int(int, unsigned long, ...)>("ioctl");
  va_list arguments;
  va_start(arguments, request);
  const auto argument = va_arg(arguments, unsigned long);
  va_end(arguments);
  if (request == TUNSETOFFLOAD) {
    if ((argument & kTso) != 0 && Refuses("tun_tso")) return Fail(EINVAL);
    if ((argument & kUso) != 0 && Refuses("tun_uso")) return Fail(EINVAL);
  }
  return real(fd, request, argument);
}

ssize_t writev(int fd, const iovec* vectors, int count) {
  static auto* const real = Real<ssize_t(int, const iovec*, int)>("writev");
  const uint8_t type = GsoType(vectors, count);
  if ((type == 1 || type == 4) && Refuses("tun_tcp_coalescing")) return Fail(EINVAL);
  if (type == 5 && Refuses("tun_udp_coalescing")) return Fail(EINVAL);
  return real(fd, vectors, count);
}

}  // extern "C"
