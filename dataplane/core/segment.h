// SPDX-License-Identifier: Apache-2.0
// Segmenter: cuts a TCP or UDP super-packet, as the kernel hands it to a TUN with TSO/USO, into
// packets as they would stand on a wire: lengths, IPv4 id, sequence numbers, flags and checksums of
// each segment as the kernel's own software segmentation makes them (net/ipv4/tcp_offload.c,
// udp_offload.c). Copies each payload byte once, into the place where it will be sealed.
#pragma once

#include <cstdint>
#include <span>
#include <variant>

#include "dataplane/core/drop.h"
#include "dataplane/core/inner_ip.h"

namespace omni {

// What virtio_net_hdr says about a packet, validated only by Segmenter.
struct Offload {
  // kUnknown: of a kind that nobody asked the kernel for.
  enum class Kind : uint8_t { kNone, kTcp4, kTcp6, kUdp, kUnknown };
  Kind kind = Kind::kNone;
  bool needs_checksum = false;  // finish the checksum at checksum_start + checksum_offset
  uint16_t segment_bytes = 0;   // payload of each segment but the last
  uint16_t checksum_start = 0;
  uint16_t checksum_offset = 0;
};

class Segmenter {
 public:
  // `packet` was parsed into `inner`; both must outlive the segmenter. tx_super_packet when the
  // offload does not fit the packet.
  static std::variant<Segmenter, DropReason> Make(std::span<const uint8_t> packet,
                                                  const InnerPacket& inner, const Offload& offload);

  size_t count() const { return count_; }
  size_t SegmentBytes(size_t index) const { return header_bytes_ + PayloadBytes(index); }
  // Writes segment `index` to `out`, which has SegmentBytes(index) bytes.
  void Write(size_t index, uint8_t* out) const;

 private:
  Segmenter() = default;
  size_t PayloadBytes(size_t index) const;
  void FixIp(size_t index, uint8_t* out, size_t bytes) const;
  void FixTransport(size_t index, uint8_t* out, size_t bytes) const;

  std::span<const uint8_t> packet_;
  Offload offload_;
  uint8_t protocol_ = 0;
  size_t transport_offset_ = 0;
  size_t header_bytes_ =
      0;  // IP and transport headers, or the whole packet when there is nothing to cut
  size_t segment_bytes_ = 0;
  size_t count_ = 1;
};

}  // namespace omni
