// SPDX-License-Identifier: Apache-2.0
// Packets for tests of the dataplane: whole IPv4 and IPv6 packets with right lengths and checksums,
// built field by field and independently of the code under test.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/ip.h"

namespace omni::testing {

struct PacketSpec {
  std::string_view source = "10.77.0.1";
  std::string_view destination = "10.77.0.2";
  uint8_t protocol = 17;  // 6: TCP, 17: UDP; anything else has no transport header
  uint8_t traffic_class = 0;
  uint16_t source_port = 1000;
  uint16_t destination_port = 2000;
  uint32_t sequence = 1;
  uint32_t acknowledgement = 7;
  uint8_t tcp_flags = 0x10;  // ACK
  uint16_t ip_id = 100;
  std::vector<uint8_t> tcp_options;  // a multiple of 4 bytes
};

std::vector<uint8_t> MakePacket(const PacketSpec& spec, std::span<const uint8_t> payload);
std::vector<uint8_t> MakePayload(size_t bytes, uint8_t start = 1);

// Whether the IPv4 header checksum and the TCP or UDP checksum of a packet are right.
bool ChecksumsAreRight(std::span<const uint8_t> packet);

// Ones' complement sum, a word at a time, as RFC 1071 writes it.
uint16_t NaiveChecksum(std::span<const uint8_t> bytes, uint32_t initial = 0);

}  // namespace omni::testing
