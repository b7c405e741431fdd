// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/segment.h"

#include <algorithm>
#include <cstring>

#include "dataplane/core/checksum.h"
#include "dataplane/core/transport_header.h"

namespace omni {
namespace {

// Length of IP and transport headers, or 0 when they do not fit the kind.
size_t HeaderBytes(std::span<const uint8_t> packet, const InnerPacket& inner, Offload::Kind kind) {
  const bool v4 = packet[0] >> 4 == 4;
  const size_t at = inner.transport_offset;
  if (inner.is_fragment || kind == Offload::Kind::kUnknown) return 0;
  if (kind == Offload::Kind::kUdp) {
    const bool fits = inner.protocol == kProtocolUdp && packet.size() > at + kUdpHeader;
    return fits ? at + kUdpHeader : 0;
  }
  if (inner.protocol != kProtocolTcp || v4 != (kind == Offload::Kind::kTcp4) ||
      packet.size() < at + kTcpHeader) {
    return 0;
  }
  const size_t tcp = (packet[at + 12] >> 4) * 4U;
  return tcp >= kTcpHeader && packet.size() > at + tcp ? at + tcp : 0;
}

}  // namespace

std::variant<Segmenter, DropReason> Segmenter::Make(std::span<const uint8_t> packet,
                                                    const InnerPacket& inner,
                                                    const Offload& offload) {
  Segmenter out;
  out.packet_ = packet;
  out.offload_ = offload;
  out.header_bytes_ = packet.size();
  if (offload.needs_checksum) {
    const size_t field = size_t{offload.checksum_start} + offload.checksum_offset;
    if (offload.checksum_start < 20 || field + 2 > packet.size()) {
      return DropReason::tx_super_packet;
    }
  }
  if (offload.kind == Offload::Kind::kNone) return out;

  out.protocol_ = inner.protocol;
  out.transport_offset_ = inner.transport_offset;
  out.header_bytes_ = HeaderBytes(packet, inner, offload.kind);
  out.segment_bytes_ = offload.segment_bytes;
  if (out.header_bytes_ == 0 || out.segment_bytes_ == 0) return DropReason::tx_super_packet;
  const size_t payload = packet.size() - out.header_bytes_;
  out.count_ = (payload + out.segment_bytes_ - 1) / out.segment_bytes_;
  return out;
}

size_t Segmenter::PayloadBytes(size_t index) const {
  if (offload_.kind == Offload::Kind::kNone) return 0;
  const size_t payload = packet_.size() - header_bytes_;
  return std::min(segment_bytes_, payload - index * segment_bytes_);
}

void Segmenter::Write(size_t index, uint8_t* out) const {
  // A keepalive is empty, and memcpy() takes no null pointer even then.
  if (header_bytes_ > 0) std::memcpy(out, packet_.data(), header_bytes_);
  if (offload_.kind == Offload::Kind::kNone) {
    if (!offload_.needs_checksum) return;
    // The kernel left the pseudo-header sum in the field; summing over it includes it.
    const size_t start = offload_.checksum_start;
    const uint16_t checksum = ChecksumFinish(ChecksumAdd({out + start, header_bytes_ - start}));
    // Zero means "no checksum" in UDP, and all ones is the same number: never wrong elsewhere.
    StoreWord(out + start + offload_.checksum_offset, checksum == 0 ? 0xffff : checksum);
    return;
  }
  const size_t payload = PayloadBytes(index);
  std::memcpy(out + header_bytes_, packet_.data() + header_bytes_ + index * segment_bytes_,
              payload);
  FixIp(index, out, header_bytes_ + payload);
  FixTransport(index, out, header_bytes_ + payload);
}

void Segmenter::FixIp(size_t index, uint8_t* out, size_t bytes) const {
  if (out[0] >> 4 == 6) {
    StoreField<Be16>(out + 4, static_cast<uint16_t>(bytes - 40));
    return;
  }
  StoreField<Be16>(out + 2, static_cast<uint16_t>(bytes));
  StoreField<Be16>(out + 4, static_cast<uint16_t>(LoadField<Be16>(out + 4) + index));
  StoreWord(out + 10, 0);
  StoreWord(out + 10, ChecksumFinish(ChecksumAdd({out, (out[0] & 0x0fU) * 4U})));
}

void Segmenter::FixTransport(size_t index, uint8_t* out, size_t bytes) const {
  uint8_t* transport = out + transport_offset_;
  const size_t length = bytes - transport_offset_;
  size_t field = kUdpChecksum;
  if (protocol_ == kProtocolTcp) {
    field = kTcpChecksum;
    const auto skipped = static_cast<uint32_t>(index * segment_bytes_);
    const uint32_t sequence = LoadField<Be32>(transport + kTcpSequence) + skipped;
    StoreField<Be32>(transport + kTcpSequence, sequence);
    if (index + 1 < count_) transport[kTcpFlags] &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
    if (index > 0) transport[kTcpFlags] &= static_cast<uint8_t>(~kTcpCwr);
  } else {
    StoreField<Be16>(transport + kUdpLength, static_cast<uint16_t>(length));
  }
  StoreWord(transport + field, 0);
  const uint64_t pseudo =
      PseudoHeaderSum(InnerAddresses({out, bytes}), protocol_, static_cast<uint32_t>(length));
  const uint16_t checksum = ChecksumFinish(ChecksumAdd({transport, length}, pseudo));
  const bool zero_means_none = protocol_ == kProtocolUdp && checksum == 0;
  StoreWord(transport + field, zero_means_none ? 0xffff : checksum);
}

}  // namespace omni
