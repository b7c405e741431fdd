// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>

#include "benchmarks/load/load.h"
#include "bpf/abi.h"

namespace omni {
namespace {

constexpr size_t kBatch = 64;
constexpr size_t kMaxPayload = 2048;
// Shorter than every payload that is measured.
constexpr std::array<uint8_t, 3> kEnd = {'e', 'n', 'd'};
constexpr int kEndRepeats = 5;
// LIMIT: what the sender missed while it did not run is made up for in bursts of this time at most;
// the rest was never offered. Beyond that a burst measures the queue of the first device.
constexpr double kMaxBehindSeconds = 0.002;
// LIMIT: 4 MiB hold what arrives while a busy machine does not run the receiver for 10 ms.
constexpr int kReceiveBuffer = 4 << 20;

class Socket {
 public:
  explicit Socket(const Endpoint& e)
      : fd_(socket(e.address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    length_ = e.ToSockaddr(&address_);
  }
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const { return fd_; }
  // SAFETY: the socket calls take every family through sockaddr.
  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t length() const { return length_; }

 private:
  int fd_;
  sockaddr_storage address_{};
  socklen_t length_ = 0;
};

absl::Status Failed(const char* operation, const Endpoint& object) {
  return absl::InternalError(
      fmt::format("{} {}: {}", operation, object.ToString(), std::strerror(errno)));
}

double SecondsSince(LoadClock::time_point begin) {
  return std::chrono::duration<double>(LoadClock::now() - begin).count();
}

// `kBatch` messages with a buffer each.
struct Messages {
  explicit Messages(size_t bytes) {
    for (size_t i = 0; i < kBatch; ++i) {
      vectors[i] = {.iov_base = buffers[i].data(), .iov_len = bytes};
      headers[i].msg_hdr = {.msg_iov = &vectors[i], .msg_iovlen = 1};
    }
  }
  std::array<std::array<uint8_t, kMaxPayload>, kBatch> buffers{};
  std::array<iovec, kBatch> vectors{};
  std::array<mmsghdr, kBatch> headers{};
};

// Kinds of messages in turn (bpf/abi.h), and nothing that could be one. The same each time.
void FillWithGarbage(Messages& messages) {
  constexpr std::array<uint8_t, 3> kKinds = {OMNI_MSG_DATA, OMNI_MSG_INITIATION, OMNI_MSG_COOKIE};
  std::minstd_rand random(1);
  for (size_t i = 0; i < kBatch; ++i) {
    for (uint8_t& byte : messages.buffers[i]) byte = static_cast<uint8_t>(random() >> 8);
    messages.buffers[i][0] = kKinds[i % kKinds.size()];
  }
}

// Several, because a tunnel under load loses some.
void SendEnd(const Socket& socket) {
  for (int i = 0; i < kEndRepeats; ++i) {
    // A receiver that has heard one is gone already; its refusal means nothing.
    (void)!send(socket.fd(), kEnd.data(), kEnd.size(), 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace

absl::StatusOr<SendResult> SendLoad(const SendOrder& order) {
  if (order.bytes <= kEnd.size() || order.bytes > kMaxPayload) {
    return absl::InvalidArgumentError(
        fmt::format("{} bytes: must be {}-{}", order.bytes, kEnd.size() + 1, kMaxPayload));
  }
  const Socket socket(order.to);
  if (socket.fd() < 0) return Failed("socket", order.to);
  if (connect(socket.fd(), socket.address(), socket.length()) != 0) {
    return Failed("connect", order.to);
  }
  Messages messages(order.bytes);
  if (order.content == LoadContent::kGarbage) FillWithGarbage(messages);
  SendResult result;
  const LoadClock::time_point begin = LoadClock::now();
  double credit = 0;
  double before = 0;
  for (;;) {
    const double now = SecondsSince(begin);
    if (now >= order.duration.count()) break;
    credit += std::min(now - before, kMaxBehindSeconds) * order.packets_per_second;
    before = now;
    while (credit >= 1) {
      const auto wanted = static_cast<unsigned>(std::min<double>(credit, kBatch));
      const int sent = sendmmsg(socket.fd(), messages.headers.data(), wanted, 0);
      result.sent += sent > 0 ? static_cast<uint64_t>(sent) : 0;
      // The first of the batch was refused; it counts, and the others are tried again.
      result.refused += sent <= 0 ? 1 : 0;
      credit -= sent > 0 ? sent : 1;
      if (SecondsSince(begin) >= order.duration.count()) break;
    }
    const timespec tick{.tv_sec = 0, .tv_nsec = 100'000};
    nanosleep(&tick, nullptr);
  }
  result.seconds = SecondsSince(begin);
  if (order.content == LoadContent::kCounted) SendEnd(socket);
  return result;
}

absl::StatusOr<ReceiveResult> ReceiveLoad(const Endpoint& at) {
  const Socket socket(at);
  if (socket.fd() < 0) return Failed("socket", at);
  if (setsockopt(socket.fd(), SOL_SOCKET, SO_RCVBUFFORCE, &kReceiveBuffer, sizeof(int)) != 0) {
    return Failed("receive buffer of", at);
  }
  if (bind(socket.fd(), socket.address(), socket.length()) != 0) return Failed("bind", at);
  fmt::print("ready\n");
  std::fflush(stdout);
  // The first may take its time: the sender is another process yet to start.
  timeval patience{.tv_sec = 10, .tv_usec = 0};
  setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  Messages messages(kMaxPayload);
  ReceiveResult result;
  LoadClock::time_point begin;
  for (;;) {
    const int count =
        recvmmsg(socket.fd(), messages.headers.data(), kBatch, MSG_WAITFORONE, nullptr);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return result;
    if (count < 0) return Failed("receive at", at);
    if (result.packets == 0) {
      begin = LoadClock::now();
      patience.tv_sec = 1;
      setsockopt(socket.fd(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    }
    for (int i = 0; i < count; ++i) {
      const unsigned bytes = messages.headers[static_cast<size_t>(i)].msg_len;
      if (bytes == kEnd.size()) return result;
      ++result.packets;
      result.bytes += bytes;
    }
    result.seconds = SecondsSince(begin);
  }
}

}  // namespace omni
