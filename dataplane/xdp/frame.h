// SPDX-License-Identifier: Apache-2.0
// Frames: UDP datagrams with everything around them, as AF_XDP gives and takes them. ParseFrame()
// reads one that came off the wire; FrameHead writes what stands in front of a datagram on one way
// to one peer. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/core/peer.h"

namespace omni {

using MacAddress = std::array<uint8_t, 6>;

struct FrameView {
  std::span<uint8_t> payload;  // of UDP
  uint8_t traffic_class = 0;
  UdpPath path;  // remote: where it came from; local: the address it was sent to
};

// Empty unless the frame holds one whole UDP datagram. The UDP checksum is not looked at: on
// virtual links it may be unfinished, and what is inside proves itself. The header of IPv4 is
// checked, because it alone says where the frame came from. `interface` on which it came: the scope
// of a link-local source.
std::optional<FrameView> ParseFrame(std::span<uint8_t> frame, uint32_t interface);

// Where a frame goes and what it says of its sender.
struct FrameAddresses {
  MacAddress to{};
  MacAddress from{};
  std::optional<uint16_t> vlan;
  Endpoint remote;
  IpAddress local;  // of the same family
  uint16_t local_port = 0;

  friend bool operator==(const FrameAddresses&, const FrameAddresses&) = default;
};

class FrameHead {
 public:
  // Ethernet with a tag, IPv6, UDP.
  static constexpr size_t kMaxBytes = 14 + 4 + 40 + 8;

  explicit FrameHead(const FrameAddresses& addresses);

  size_t bytes() const { return bytes_; }
  // Bytes of the IP packet around a payload.
  size_t PacketBytes(size_t payload) const { return bytes_ - ip_at_ + payload; }

  // Writes the head in front of `payload`, whose PacketBytes() are at most 65,535 and which has
  // bytes() of room in front. All lengths and checksums are complete.
  void Write(std::span<uint8_t> payload, uint8_t traffic_class) const;

 private:
  std::array<uint8_t, kMaxBytes> head_{};
  uint8_t bytes_ = 0;
  uint8_t ip_at_ = 0;
  bool is_v4_ = true;
};

}  // namespace omni
