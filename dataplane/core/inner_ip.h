// SPDX-License-Identifier: Apache-2.0
// Reading and changing the IP header of an inner packet. Every length is checked here, once; who
// holds an InnerPacket may trust its offsets. Extension headers are walked only to find the upper
// layer, within bounds.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "common/ip.h"

namespace omni {

// LIMIT: the smallest and largest packet of IPv4 and IPv6 without jumbo options.
inline constexpr size_t kMaxInnerPacket = 65535;

inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolUdp = 17;

struct InnerPacket {
  IpAddress source;
  IpAddress destination;
  uint8_t traffic_class = 0;  // DSCP and ECN
  uint8_t protocol = 0;       // upper layer, after extension headers
  bool is_fragment = false;   // ports may be missing: no transport header is looked at
  uint16_t transport_offset = 0;
  uint32_t flow_hash = 0;  // equal for all packets of a flow
};

// Empty unless `packet` is one whole IPv4 or IPv6 packet whose header agrees with its size.
std::optional<InnerPacket> ParseInner(std::span<const uint8_t> packet);

// Writes the traffic class and keeps the IPv4 header checksum right. `packet` was parsed.
void SetTrafficClass(std::span<uint8_t> packet, uint8_t traffic_class);

// The addresses in the header of a parsed packet, as a pseudo header has them: 8 or 32 bytes.
std::span<const uint8_t> InnerAddresses(std::span<const uint8_t> packet);

}  // namespace omni
