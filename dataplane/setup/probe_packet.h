// SPDX-License-Identifier: Apache-2.0
// What the self-test of the offloads sends: bytes that tell a wrong one from a right one, and whole
// TCP and UDP packets as a peer behind the TUN would send them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/ip.h"
#include "dataplane/core/port.h"

namespace omni {

using Bytes = std::vector<uint8_t>;

// The same with each call; no period of a power of two.
Bytes ProbeBytes(size_t count);
// As a train or super-packet is cut.
std::vector<Bytes> CutBytes(std::span<const uint8_t> bytes, size_t segment_bytes);

// One direction of a conversation.
struct ProbeFlow {
  Endpoint from;
  Endpoint to;
};

// A packet with the room in front that TunPort::Write() asks for.
class ProbePacket {
 public:
  struct Tcp {
    uint32_t sequence = 0;
    uint32_t acknowledgement = 0;
    uint8_t flags = 0;
    std::vector<uint8_t> options;  // a multiple of 4 bytes
  };
  static ProbePacket MakeTcp(const ProbeFlow& flow, const Tcp& tcp,
                             std::span<const uint8_t> payload);
  static ProbePacket MakeUdp(const ProbeFlow& flow, std::span<const uint8_t> payload);

  std::span<uint8_t> bytes() { return std::span(buffer_).subspan(TunPort::kHeadroom); }

 private:
  ProbePacket(const ProbeFlow& flow, uint8_t protocol, const Bytes& transport,
              size_t checksum_offset);

  Bytes buffer_;
};

// Whether lengths and checksums of a TCP or UDP packet are right.
bool IsIntact(std::span<const uint8_t> packet);

}  // namespace omni
