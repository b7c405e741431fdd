// SPDX-License-Identifier: Apache-2.0
// The load generator of benchmarks/tunnels: UDP at a chosen rate and size with batched system
// calls, its receiver, and a prober of round-trip times. iperf3 makes one system call a datagram
// and measures itself at 64 bytes; ping has no resolution left after printing. One thread,
// blocking.
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/ip.h"

namespace omni {

using LoadClock = std::chrono::steady_clock;

enum class LoadContent : uint8_t {
  kCounted,  // zeros, and a mark at the end for ReceiveLoad()
  kGarbage,  // as an attacker of the port would send: session data of no session, forged handshakes
};
struct SendOrder {
  Endpoint to;
  LoadContent content = LoadContent::kCounted;
  uint32_t bytes = 0;  // payload of each datagram
  double packets_per_second = 0;
  std::chrono::duration<double> duration{};
};
struct SendResult {
  uint64_t sent = 0;     // taken by the kernel
  uint64_t refused = 0;  // ENOBUFS and the like
  double seconds = 0;
};
absl::StatusOr<SendResult> SendLoad(const SendOrder& order);

struct ReceiveResult {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  double seconds = 0;  // from the first datagram to the last
};
// Receives until the sender's end mark, or until nothing came for a second. Prints "ready" once
// datagrams are no longer lost.
absl::StatusOr<ReceiveResult> ReceiveLoad(const Endpoint& at);

struct PingResult {
  std::vector<double> microseconds;
  uint64_t lost = 0;  // not answered within kPingTimeout
};
inline constexpr std::chrono::milliseconds kPingTimeout{500};
// ICMP echo with 64 bytes, one at a time. IPv4.
absl::StatusOr<PingResult> Ping(const IpAddress& to, std::chrono::microseconds interval,
                                std::chrono::duration<double> duration);

}  // namespace omni
