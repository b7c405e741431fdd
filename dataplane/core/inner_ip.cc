// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/inner_ip.h"

#include <algorithm>

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

std::optional<InnerPacket> ParseIpv4(std::span<const uint8_t> p) {
  if (p.size() < kIpv4Header) return std::nullopt;
  const size_t header = (p[0] & 0x0fU) * 4U;
  if (header < kIpv4Header || header > p.size() || Load16(&p[2]) != p.size()) return std::nullopt;
  InnerPacket out;
  out.source = *IpAddress::FromBytes(p.subspan(12, 4));
  out.destination = *IpAddress::FromBytes(p.subspan(16, 4));
  out.traffic_class = p[1];
  out.protocol = p[9];
  out.is_fragment = (Load16(&p[6]) & 0x3fffU) != 0;  // more fragments, or an offset
  out.transport_offset = static_cast<uint16_t>(header);
  return out;
}

constexpr bool IsExtensionHeader(uint8_t next) {
  return next == 0 || next == 43 || next == 60 || next == 135 || next == 139 || next == 140;
}

std::optional<InnerPacket> ParseIpv6(std::span<const uint8_t> p) {
  if (p.size() < kIpv6Header || Load16(&p[4]) + kIpv6Header != p.size()) return std::nullopt;
  InnerPacket out;
  // Not FromBytes(): a mapped address inside an IPv6 header is a forgery of an IPv4 one, not its
  // other spelling.
  out.source.family = out.destination.family = IpFamily::kV6;
  std::copy_n(p.begin() + 8, 16, out.source.bytes.begin());
  std::copy_n(p.begin() + 24, 16, out.destination.bytes.begin());
  out.traffic_class = static_cast<uint8_t>(p[0] << 4 | p[1] >> 4);
  uint8_t next = p[6];
  size_t offset = kIpv6Header;
  // LIMIT: 8 extension headers; RFC 8200 defines fewer, and a longer chain is only ever an attack.
  for (int i = 0; i < 8 && IsExtensionHeader(next); ++i) {
    if (offset + 8 > p.size()) return std::nullopt;
    next = p[offset];
    offset += (p[offset + 1] + 1U) * 8U;
    if (offset > p.size()) return std::nullopt;
  }
  if (IsExtensionHeader(next)) return std::nullopt;
  constexpr uint8_t kFragmentHeader = 44;
  if (next == kFragmentHeader) {
    if (offset + 8 > p.size()) return std::nullopt;
    next = p[offset];
    offset += 8;
    out.is_fragment = true;
  }
  out.protocol = next;
  out.transport_offset = static_cast<uint16_t>(offset);
  return out;
}

}  // namespace

std::optional<InnerPacket> ParseInner(std::span<const uint8_t> packet) {
  if (packet.empty() || packet.size() > kMaxInnerPacket) return std::nullopt;
  std::optional<InnerPacket> out;
  if (packet[0] >> 4 == 4) out = ParseIpv4(packet);
  if (packet[0] >> 4 == 6) out = ParseIpv6(packet);
  if (out) out->flow_hash = FlowHash(InnerAddresses(packet), PortsOf(packet, *out), out->protocol);
  return out;
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
