// SPDX-License-Identifier: Apache-2.0
#include <fmt/core.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>

#include "benchmarks/load/load.h"

namespace omni {
namespace {

constexpr size_t kEchoBytes = 64;  // header and data, as `ping` counts them
constexpr size_t kMaxIpHeader = 60;

struct EchoSocket {
  int fd = -1;
  uint16_t id = 0;
  EchoSocket() : id(static_cast<uint16_t>(getpid())) {
    fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
  }
  ~EchoSocket() {
    if (fd >= 0) close(fd);
  }
  EchoSocket(const EchoSocket&) = delete;
  EchoSocket& operator=(const EchoSocket&) = delete;
};

std::array<uint8_t, kEchoBytes> MakeEcho(uint16_t id, uint16_t sequence) {
  std::array<uint8_t, kEchoBytes> packet{};
  icmphdr header{};
  header.type = ICMP_ECHO;
  header.un.echo.id = id;
  header.un.echo.sequence = sequence;
  // Ones' complement over two words only: all else is zero. In memory order, as they are stored.
  uint32_t sum = uint32_t{id} + sequence;
  const std::array<uint8_t, 2> type = {ICMP_ECHO, 0};
  uint16_t first = 0;
  std::memcpy(&first, type.data(), sizeof(first));
  sum += first;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  header.checksum = static_cast<uint16_t>(~sum);
  std::memcpy(packet.data(), &header, sizeof(header));
  return packet;
}

bool IsAnswer(const uint8_t* packet, size_t bytes, uint16_t id, uint16_t sequence) {
  const size_t header_bytes = bytes > 0 ? (packet[0] & 15U) * 4U : 0;
  icmphdr header{};
  if (bytes < header_bytes + sizeof(header)) return false;
  std::memcpy(&header, packet + header_bytes, sizeof(header));
  return header.type == ICMP_ECHOREPLY && header.un.echo.id == id &&
         header.un.echo.sequence == sequence;
}

// Empty when the answer did not come in time.
std::optional<LoadClock::duration> AwaitAnswer(const EchoSocket& socket, uint16_t sequence,
                                               LoadClock::time_point begin) {
  std::array<uint8_t, kMaxIpHeader + kEchoBytes> answer;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(begin + kPingTimeout -
                                                                            LoadClock::now());
    pollfd ready{.fd = socket.fd, .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) == 0) {
      return std::nullopt;
    }
    const ssize_t bytes = recv(socket.fd, answer.data(), answer.size(), MSG_DONTWAIT);
    const LoadClock::time_point now = LoadClock::now();
    // An answer to an earlier one that was given up is not ours.
    if (bytes > 0 && IsAnswer(answer.data(), static_cast<size_t>(bytes), socket.id, sequence)) {
      return now - begin;
    }
  }
}

}  // namespace

absl::StatusOr<PingResult> Ping(const IpAddress& to, std::chrono::microseconds interval,
                                std::chrono::duration<double> duration) {
  if (!to.is_v4()) return absl::InvalidArgumentError("ping: IPv4 only");
  const EchoSocket socket;
  if (socket.fd < 0) {
    return absl::InternalError(fmt::format("raw socket: {}", std::strerror(errno)));
  }
  sockaddr_storage address{};
  const socklen_t length = Endpoint{.address = to}.ToSockaddr(&address);
  PingResult result;
  uint16_t sequence = 0;
  const LoadClock::time_point end =
      LoadClock::now() + std::chrono::duration_cast<LoadClock::duration>(duration);
  for (LoadClock::time_point begin = LoadClock::now(); begin < end; begin = LoadClock::now()) {
    const auto echo = MakeEcho(socket.id, ++sequence);
    // SAFETY: the socket calls take every family through sockaddr.
    const auto* target = reinterpret_cast<const sockaddr*>(&address);
    if (sendto(socket.fd, echo.data(), echo.size(), 0, target, length) < 0 && errno != ENOBUFS) {
      return absl::InternalError(fmt::format("ping {}: {}", to.ToString(), std::strerror(errno)));
    }
    if (const auto took = AwaitAnswer(socket, sequence, begin)) {
      result.microseconds.push_back(std::chrono::duration<double, std::micro>(*took).count());
    } else {
      ++result.lost;
    }
    std::this_thread::sleep_until(begin + interval);
  }
  return result;
}

}  // namespace omni
