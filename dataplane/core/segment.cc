// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/segment.h"

#include <algorithm>
#include <cstring>

#include "common/byte_order.h"
#include "dataplane/core/checksum.h"

namespace omni {
namespace {

constexpr size_t kUdpHeader = 8;
constexpr size_t kTcpHeader = 20;
constexpr size_t kTcpSequence = 4;
constexpr size_t kTcpFlags = 13;
constexpr size_t kTcpChecksum = 16;
constexpr size_t kUdpLength = 4;
constexpr size_t kUdpChecksum = 6;
constexpr uint8_t kTcpFin = 0x01;
constexpr uint8_t kTcpPsh = 0x08;
constexpr uint8_t kTcpCwr = 0x80;

template <typename T>
T Load(const uint8_t* at) {
  T out;
  std::memcpy(&out, at, sizeof(out));
  return out;
}
template <typename T>
void Store(uint8_t* at, const T& value) {
  std::memcpy(at, &value, sizeof(value));
}

// Length of IP and transport headers, or 0 when they do not fit the kind.
size_t HeaderBytes(std::span<const uint8_t> packet, const InnerPacket& inner, Offload::Kind kind) {
  const bool v4 = packet[0] >> 4 == 4;
  const size_t at = inner.transport_offset;
  if (inner.is_fragment) return 0;
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
      return DropReason::tx_inner_malformed;
    }
  }
  if (offload.kind == Offload::Kind::kNone) return out;

  out.protocol_ = inner.protocol;
  out.transport_offset_ = inner.transport_offset;
  out.header_bytes_ = HeaderBytes(packet, inner, offload.kind);
  out.segment_bytes_ = offload.segment_bytes;
  if (out.header_bytes_ == 0 || out.segment_bytes_ == 0) return DropReason::tx_inner_malformed;
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
    Store(out + 4, Be16(static_cast<uint16_t>(bytes - 40)));
    return;
  }
  Store(out + 2, Be16(static_cast<uint16_t>(bytes)));
  Store(out + 4, Be16(static_cast<uint16_t>(Load<Be16>(out + 4).value() + index)));
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
    const uint32_t sequence = Load<Be32>(transport + kTcpSequence).value() + skipped;
    Store(transport + kTcpSequence, Be32(sequence));
    if (index + 1 < count_) transport[kTcpFlags] &= static_cast<uint8_t>(~(kTcpFin | kTcpPsh));
    if (index > 0) transport[kTcpFlags] &= static_cast<uint8_t>(~kTcpCwr);
  } else {
    Store(transport + kUdpLength, Be16(static_cast<uint16_t>(length)));
  }
  StoreWord(transport + field, 0);
  const uint64_t pseudo =
      PseudoHeaderSum(InnerAddresses({out, bytes}), protocol_, static_cast<uint32_t>(length));
  const uint16_t checksum = ChecksumFinish(ChecksumAdd({transport, length}, pseudo));
  const bool zero_means_none = protocol_ == kProtocolUdp && checksum == 0;
  StoreWord(transport + field, zero_means_none ? 0xffff : checksum);
}

}  // namespace omni
