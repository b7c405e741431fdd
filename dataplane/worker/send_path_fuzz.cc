// SPDX-License-Identifier: Apache-2.0
// The whole send path: the input is what a host's kernel could hand out, virtio header and packet,
// and what the path carries of it.
#include <array>
#include <cstdint>
#include <cstring>

#include "dataplane/worker/test_node.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static omni::testing::ConnectedPair pair;
  struct Header {
    uint8_t kind;
    uint8_t flags;
    uint16_t segment_bytes;
    uint16_t checksum_start;
    uint16_t checksum_offset;
  } header;
  if (size < sizeof(header)) return 0;
  std::memcpy(&header, data, sizeof(header));
  const omni::Offload offload{.kind = static_cast<omni::Offload::Kind>(header.kind % 5),
                              .needs_checksum = (header.flags & 1) != 0,
                              .segment_bytes = header.segment_bytes,
                              .checksum_start = header.checksum_start,
                              .checksum_offset = header.checksum_offset};
  constexpr std::array<uint32_t, 4> kWhole = {65535, 1440, 1220, omni::kSmallInner};
  const uint32_t whole = kWhole[header.flags >> 1 & 3];
  pair.a.worker->SetPathMtu(omni::testing::kOther, {.remote = pair.endpoint_b},
                            {.whole = whole, .limit = (header.flags & 8) != 0 ? whole : 65535});
  pair.a.tun->from_host.push_back({{data + sizeof(header), data + size}, offload});
  pair.Settle();
  pair.b.tun->to_host.clear();
  pair.a.tun->to_host.clear();
  pair.a.reports = {};
  pair.b.reports = {};
  return 0;
}
