// SPDX-License-Identifier: Apache-2.0
// The two batch-shaped seams of the dataplane: UdpPort (ciphertext, towards the network) and
// TunPort (plain packets, towards the host). The pipelines know only these; dataplane/io has the
// kernel's, and in-memory doubles. One port belongs to one worker. One virtual call a batch (Read:
// one a super-packet).
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/core/drop.h"
#include "dataplane/core/peer.h"
#include "dataplane/core/segment.h"

namespace omni {

// Datagrams of one destination, one behind the other in memory, all of `segment_bytes` but the
// last, which may be shorter: what one UDP_SEGMENT message takes.
struct Train {
  // LIMIT: UDP_MAX_SEGMENTS is 64 up to Linux 6.7 (128 since); a UDP datagram's payload ends at
  // 65,507 bytes.
  static constexpr uint32_t kMaxSegments = 64;
  static constexpr uint32_t kMaxBytes = 65000;

  UdpPath path;
  uint8_t traffic_class = 0;
  uint8_t* data = nullptr;
  uint32_t bytes = 0;
  uint32_t segment_bytes = 0;
  uint32_t segments = 0;
};

// By which of a port's ways a datagram comes or goes.
enum class Way : uint8_t { kSocket, kAfxdp };

// Datagrams that went one way, and their payloads. Written by the port's worker.
struct WayCounters {
  Counter64 tx_packets;
  Counter64 tx_bytes;
  Counter64 rx_packets;
  Counter64 rx_bytes;
};

// One received message: a datagram, or several of equal size (the last may be shorter) that the
// kernel merged.
struct ReceivedDatagram {
  std::span<uint8_t> bytes;
  uint32_t segment_bytes = 0;  // == bytes.size() when nothing was merged
  uint8_t traffic_class = 0;
  Way way = Way::kSocket;
  UdpPath path;  // remote: where it came from; local: the address it was sent to
};

class UdpPort {
 public:
  virtual ~UdpPort() = default;
  // Sends all trains; what the kernel does not take is counted in `drops`.
  virtual void Send(std::span<const Train> trains, DropCounters& drops) = 0;
  // Fills the front of `out` and gives the number; the bytes are valid until the next call. Never
  // blocks.
  virtual size_t Receive(std::span<ReceivedDatagram> out, DropCounters& drops) = 0;
  // How session data would go there now, as far as it fits.
  virtual Way WayTo(const UdpPath& /*path*/) const { return Way::kSocket; }
};

// A packet that the host sends: perhaps a super-packet, perhaps with an unfinished checksum.
struct HostPacket {
  std::span<uint8_t> bytes;
  Offload offload;
};

class TunPort {
 public:
  // Bytes in front of every packet given to Write() that the port may overwrite.
  static constexpr size_t kHeadroom = 32;

  virtual ~TunPort() = default;
  // Empty when nothing waits; the bytes are valid until the next call. Never blocks.
  virtual std::optional<HostPacket> Read() = 0;
  // Hands packets to the host in this order.
  virtual void Write(std::span<const std::span<uint8_t>> packets, DropCounters& drops) = 0;
};

}  // namespace omni
