// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/test_packets.h"

#include <cstddef>

namespace omni::testing {
namespace {

void Put16(std::vector<uint8_t>& out, size_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}
void Put32(std::vector<uint8_t>& out, uint32_t value) {
  Put16(out, value >> 16);
  Put16(out, value & 0xffff);
}
void Set16(std::vector<uint8_t>& out, size_t at, uint16_t value) {
  out[at] = static_cast<uint8_t>(value >> 8);
  out[at + 1] = static_cast<uint8_t>(value);
}
void Append(std::vector<uint8_t>& out, std::span<const uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

uint32_t NaiveSum(std::span<const uint8_t> bytes, uint32_t sum) {
  for (size_t i = 0; i < bytes.size(); i += 2) {
    const uint32_t low = i + 1 < bytes.size() ? bytes[i + 1] : 0;
    sum += static_cast<uint32_t>(bytes[i]) << 8 | low;
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

size_t TransportOffset(std::span<const uint8_t> packet) {
  return packet[0] >> 4 == 4 ? (packet[0] & 15U) * 4U : 40;
}

uint16_t TransportChecksum(std::span<const uint8_t> packet) {
  const bool v4 = packet[0] >> 4 == 4;
  const size_t at = TransportOffset(packet);
  const auto addresses = v4 ? packet.subspan(12, 8) : packet.subspan(8, 32);
  const uint32_t protocol = v4 ? packet[9] : packet[6];
  const auto length = static_cast<uint32_t>(packet.size() - at);
  const uint32_t pseudo = NaiveSum(addresses, protocol + (length >> 16) + (length & 0xffff));
  return NaiveChecksum(packet.subspan(at), pseudo);
}

std::vector<uint8_t> MakeTransport(const PacketSpec& spec, std::span<const uint8_t> payload) {
  std::vector<uint8_t> out;
  if (spec.protocol == 6) {
    Put16(out, spec.source_port);
    Put16(out, spec.destination_port);
    Put32(out, spec.sequence);
    Put32(out, spec.acknowledgement);
    out.push_back(static_cast<uint8_t>((20 + spec.tcp_options.size()) / 4 << 4));
    out.push_back(spec.tcp_flags);
    Put16(out, 0x2000);  // window
    Put32(out, 0);       // checksum, urgent pointer
    Append(out, spec.tcp_options);
  } else if (spec.protocol == 17) {
    Put16(out, spec.source_port);
    Put16(out, spec.destination_port);
    Put16(out, 8 + payload.size());
    Put16(out, 0);
  }
  Append(out, payload);
  return out;
}

}  // namespace

uint16_t NaiveChecksum(std::span<const uint8_t> bytes, uint32_t initial) {
  return static_cast<uint16_t>(~NaiveSum(bytes, initial));
}

std::vector<uint8_t> MakePayload(size_t bytes, uint8_t start) {
  std::vector<uint8_t> out(bytes);
  for (size_t i = 0; i < bytes; ++i) out[i] = static_cast<uint8_t>(start + i * 7 + i / 256);
  return out;
}

std::vector<uint8_t> MakePacket(const PacketSpec& spec, std::span<const uint8_t> payload) {
  const IpAddress source = *IpAddress::Parse(spec.source);
  const IpAddress destination = *IpAddress::Parse(spec.destination);
  const std::vector<uint8_t> transport = MakeTransport(spec, payload);
  std::vector<uint8_t> out;
  if (source.is_v4()) {
    out = {0x45, spec.traffic_class};
    Put16(out, 20 + transport.size());
    Put16(out, spec.ip_id);
    Put16(out, 0x4000);  // do not fragment
    out.push_back(64);
    out.push_back(spec.protocol);
    Put16(out, 0);
    Append(out, source.raw());
    Append(out, destination.raw());
    Set16(out, 10, NaiveChecksum(out));
  } else {
    out = {static_cast<uint8_t>(0x60 | spec.traffic_class >> 4),
           static_cast<uint8_t>(spec.traffic_class << 4), 0, 0};
    Put16(out, transport.size());
    out.push_back(spec.protocol);
    out.push_back(64);
    Append(out, source.raw());
    Append(out, destination.raw());
  }
  const size_t at = out.size();
  Append(out, transport);
  if (spec.protocol == 6) Set16(out, at + 16, TransportChecksum(out));
  if (spec.protocol == 17) {
    const uint16_t checksum = TransportChecksum(out);
    Set16(out, at + 6, checksum == 0 ? 0xffff : checksum);
  }
  return out;
}

bool ChecksumsAreRight(std::span<const uint8_t> packet) {
  const bool v4 = packet[0] >> 4 == 4;
  if (v4 && NaiveChecksum(packet.first((packet[0] & 15U) * 4U)) != 0) return false;
  const uint8_t protocol = v4 ? packet[9] : packet[6];
  if (protocol != 6 && protocol != 17) return true;
  return TransportChecksum(packet) == 0;
}

}  // namespace omni::testing
