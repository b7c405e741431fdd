// SPDX-License-Identifier: Apache-2.0
// Super-packets as the kernel hands them to a TUN with TSO or USO: 64 KB in one packet, with what
// virtio_net_hdr says about it. For benchmarks.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "dataplane/core/segment.h"
#include "dataplane/core/test_packets.h"

namespace omni {

struct SuperPacket {
  std::vector<uint8_t> bytes;
  Offload offload;
};

// LIMIT: the largest payload Linux puts into one packet of a TCP stream (GSO_LEGACY_MAX_SIZE,
// 65,536, less headers), in whole segments of 1,380 bytes.
inline constexpr size_t kSuperSegments = 46;

inline SuperPacket MakeTcpSuperPacket(std::string_view source, std::string_view destination) {
  const bool v4 = source.find(':') == std::string_view::npos;
  constexpr uint16_t kSegmentBytes = 1380;
  return {.bytes = omni::testing::MakePacket(
              {.source = source, .destination = destination, .protocol = kProtocolTcp},
              omni::testing::MakePayload(kSuperSegments * kSegmentBytes)),
          .offload = {.kind = v4 ? Offload::Kind::kTcp4 : Offload::Kind::kTcp6,
                      .needs_checksum = true,
                      .segment_bytes = kSegmentBytes,
                      .checksum_start = static_cast<uint16_t>(v4 ? 20 : 40),
                      .checksum_offset = 16}};
}

inline SuperPacket MakeUdpSuperPacket(uint16_t segment_bytes) {
  return {.bytes = omni::testing::MakePacket(
              {.protocol = kProtocolUdp},
              omni::testing::MakePayload(kSuperSegments * size_t{segment_bytes})),
          .offload = {.kind = Offload::Kind::kUdp,
                      .needs_checksum = true,
                      .segment_bytes = segment_bytes,
                      .checksum_start = 20,
                      .checksum_offset = 6}};
}

}  // namespace omni
