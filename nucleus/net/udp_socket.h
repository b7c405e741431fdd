// SPDX-License-Identifier: Apache-2.0
// UdpSocket: one bound, non-blocking UDP socket that tells to which of the machine's addresses a
// datagram came, and answers from that one: a machine may have several. Owned by main(), on its
// loop.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "common/ip.h"
#include "signal/quic/host.h"

namespace omni {

class UdpSocket {
 public:
  static absl::StatusOr<std::unique_ptr<UdpSocket>> Bind(const Endpoint& at);
  ~UdpSocket();
  UdpSocket(const UdpSocket&) = delete;
  UdpSocket& operator=(const UdpSocket&) = delete;

  int fd() const { return fd_; }
  IpFamily family() const { return family_; }
  // Gives what has arrived to `take`, a bounded number of datagrams; the socket may have more.
  void Receive(const std::function<void(std::span<const uint8_t>, const quic::Route&)>& take);
  // Best effort, as every datagram. False when the kernel did not take it.
  bool Send(const quic::Route& to, std::span<const uint8_t> datagram);

 private:
  UdpSocket(int fd, IpFamily family) : fd_(fd), family_(family) {}
  const int fd_;
  const IpFamily family_;
};

}  // namespace omni
