// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/inner_ip.h"

#include <cstring>

#include "dataplane/core/checksum.h"
#include "dataplane/core/transport_header.h"

namespace omni {
namespace {

uint32_t Load16(const uint8_t* at) { return static_cast<uint32_t>(at[0]) << 8 | at[1]; }

// Mixes addresses, protocol and ports. Not secret: it only spreads flows over channels.
uint32_t FlowHash(std::span<const uint8_t> addresses, uint32_t ports, uint8_t protocol) {
  uint64_t h = uint64_t{protocol} << 32 | ports;
  for (size_t i = 0; i < addresses.size(); i += 4) {
    uint32_t word;
    std::memcpy(&word, addresses.data() + i, sizeof(word));
    h = (h ^ word) * 0x9e3779b97f4a7c15ULL;
    h ^= h >> 29;
  }
  return static_cast<uint32_t>(h >> 16);
}

// Ports as 32 bits when the packet surely has them, else 0, so that all fragments of a packet hash
// alike.
uint32_t PortsOf(std::span<const uint8_t> packet, const InnerPacket& inner) {
  const bool has_ports = inner.protocol == kProtocolTcp || inner.protocol == kProtocolUdp;
  if (!has_ports || inner.is_fragment || packet.size() < inner.transport_offset + 4U) return 0;
  uint32_t ports;
  std::memcpy(&ports, packet.data() + inner.transport_offset, sizeof(ports));
  return ports;
}

size_t Ipv4HeaderBytes(std::span<const uint8_t> p) { return (p[0] & 0x0fU) * 4U; }

bool IsWholeIpv4(std::span<const uint8_t> p) {
  if (p.size() < kIpv4Header) return false;
  const size_t header = Ipv4HeaderBytes(p);
  return header >= kIpv4Header && header <= p.size() && Load16(&p[2]) == p.size();
}

std::optional<InnerPacket> ParseIpv4(std::span<const uint8_t> p) {
  std::optional<InnerPacket> out;
  if (!IsWholeIpv4(p)) return out;
  InnerPacket& inner = out.emplace();
  std::memcpy(inner.source.bytes.data(), &p[12], 4);
  std::memcpy(inner.destination.bytes.data(), &p[16], 4);
  inner.traffic_class = p[1];
  inner.protocol = p[9];
  inner.is_fragment = (Load16(&p[6]) & 0x3fffU) != 0;  // more fragments, or an offset
  inner.transport_offset = static_cast<uint16_t>(Ipv4HeaderBytes(p));
  inner.flow_hash = FlowHash(InnerAddresses(p), PortsOf(p, inner), inner.protocol);
  return out;
}

constexpr bool IsExtensionHeader(uint8_t next) {
  return next == 0 || next == 43 || next == 60 || next == 135 || next == 139 || next == 140;
}

// Where the upper layer of an IPv6 packet begins, and what it is.
struct UpperLayer {
  size_t offset = kIpv6Header;
  uint8_t protocol = 0;
  bool is_fragment = false;
};

std::optional<UpperLayer> WalkExtensions(std::span<const uint8_t> p) {
  UpperLayer upper{.protocol = p[6]};
  // LIMIT: 8 extension headers; RFC 8200 defines fewer, and a longer chain is only ever an attack.
  for (int i = 0; i < 8 && IsExtensionHeader(upper.protocol); ++i) {
    if (upper.offset + 8 > p.size()) return std::nullopt;
    upper.protocol = p[upper.offset];
    upper.offset += (p[upper.offset + 1] + 1U) * 8U;
    if (upper.offset > p.size()) return std::nullopt;
  }
  if (IsExtensionHeader(upper.protocol)) return std::nullopt;
  constexpr uint8_t kFragmentHeader = 44;
  if (upper.protocol == kFragmentHeader) {
    if (upper.offset + 8 > p.size()) return std::nullopt;
    upper.protocol = p[upper.offset];
    upper.offset += 8;
    upper.is_fragment = true;
  }
  return upper;
}

std::optional<InnerPacket> ParseIpv6(std::span<const uint8_t> p) {
  std::optional<InnerPacket> out;
  if (p.size() < kIpv6Header || Load16(&p[4]) + kIpv6Header != p.size()) return out;
  const auto upper = WalkExtensions(p);
  if (!upper) return out;
  InnerPacket& inner = out.emplace();
  // The family is that of the header: a mapped address inside an IPv6 header is a forgery of an
  // IPv4 one, not its other spelling.
  inner.source.family = inner.destination.family = IpFamily::kV6;
  std::memcpy(inner.source.bytes.data(), &p[8], 16);
  std::memcpy(inner.destination.bytes.data(), &p[24], 16);
  inner.traffic_class = static_cast<uint8_t>(p[0] << 4 | p[1] >> 4);
  inner.protocol = upper->protocol;
  inner.is_fragment = upper->is_fragment;
  inner.transport_offset = static_cast<uint16_t>(upper->offset);
  inner.flow_hash = FlowHash(InnerAddresses(p), PortsOf(p, inner), inner.protocol);
  return out;
}

}  // namespace

std::optional<InnerPacket> ParseInner(std::span<const uint8_t> packet) {
  if (packet.empty() || packet.size() > kMaxInnerPacket) return std::nullopt;
  if (packet[0] >> 4 == 4) return ParseIpv4(packet);
  if (packet[0] >> 4 == 6) return ParseIpv6(packet);
  return std::nullopt;
}

void SetTrafficClass(std::span<uint8_t> packet, uint8_t traffic_class) {
  if (packet[0] >> 4 == 6) {
    packet[0] = static_cast<uint8_t>((packet[0] & 0xf0U) | traffic_class >> 4);
    packet[1] = static_cast<uint8_t>((packet[1] & 0x0fU) | traffic_class << 4);
    return;
  }
  const uint16_t old_word = LoadWord(&packet[0]);
  packet[1] = traffic_class;
  StoreWord(&packet[10], ChecksumUpdate(LoadWord(&packet[10]), old_word, LoadWord(&packet[0])));
}

std::span<const uint8_t> InnerAddresses(std::span<const uint8_t> packet) {
  return packet[0] >> 4 == 4 ? packet.subspan(12, 8) : packet.subspan(8, 32);
}

}  // namespace omni
