// SPDX-License-Identifier: Apache-2.0
// ControlOpener: opens datagrams of control channels that the kernel owns and that reached a socket
// all the same: merged, in fragments, or through an interface that is not watched. Called on worker
// threads; an implementation takes its own lock. One system call a datagram: such datagrams are
// few.
#pragma once

#include <cstdint>
#include <span>

#include "dataplane/core/port.h"

namespace omni {

class ControlOpener {
 public:
  virtual ~ControlOpener() = default;

  struct Result {
    enum class Kind : uint8_t {
      kPacket,   // `inner` is for the host
      kEnded,    // a keepalive, or dropped and counted
      kUnknown,  // no channel of the kernel's
    };
    Kind kind = Kind::kUnknown;
    std::span<uint8_t> inner;  // part of `scratch`
  };
  // LIMIT: bytes of `scratch` that are enough: an Ethernet header and the longest packet.
  static constexpr size_t kScratchBytes = 4096;
  virtual Result Open(std::span<const uint8_t> datagram, const ReceivedDatagram& origin,
                      std::span<uint8_t> scratch) = 0;
};

}  // namespace omni
