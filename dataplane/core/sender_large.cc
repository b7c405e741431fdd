// SPDX-License-Identifier: Apache-2.0
// What becomes of a packet that the path to its peer does not carry as one datagram:
//
//   TCP data whose segments the host left to us     cut smaller; above the limit its sender is told
//   above the limit, and must not be cut            told, dropped
//   anything else                                   in pieces
#include <algorithm>
#include <cstring>

#include "common/status.h"
#include "dataplane/core/pieces.h"
#include "dataplane/core/sender.h"
#include "dataplane/core/too_big.h"
#include "dataplane/core/transport_header.h"

namespace omni {
namespace {

// LIMIT: messages a second of one worker to the host, and at once. A sender needs one per
// destination; RFC 1812 section 4.3.2.8 wants a limit and names none.
constexpr double kTellsPerSecond = 200;
constexpr double kTellBurst = 50;

bool IsMessage(std::span<const uint8_t> packet) { return packet[0] < 16; }

// What the packet's sender is held to.
uint32_t LimitFor(const PathMtu& mtu, std::span<const uint8_t> packet) {
  return packet[0] >> 4 == 6 ? std::max(mtu.limit, kIpv6MinimumMtu) : mtu.limit;
}

// The same packet as a TCP super-packet whose segments pass; empty when it cannot be one. Only what
// the host's own TCP has left to us to checksum: cutting a foreign packet would hide damage to it.
std::optional<HostPacket> CutSmaller(const HostPacket& packet, const InnerPacket& inner,
                                     uint32_t whole) {
  const auto kind = packet.offload.kind;
  if (inner.protocol != kProtocolTcp || inner.is_fragment || kind == Offload::Kind::kUdp ||
      !packet.offload.needs_checksum || packet.bytes.size() < inner.transport_offset + kTcpHeader) {
    return std::nullopt;
  }
  const auto tcp = packet.bytes.subspan(inner.transport_offset);
  // These belong to one segment alone.
  if ((tcp[kTcpFlags] & (kTcpSyn | kTcpRst | kTcpUrg)) != 0) return std::nullopt;
  const size_t headers = inner.transport_offset + (tcp[12] >> 4) * 4U;
  if (headers >= whole || headers >= packet.bytes.size()) return std::nullopt;
  HostPacket out = packet;
  const bool v4 = packet.bytes[0] >> 4 == 4;
  out.offload.kind = v4 ? Offload::Kind::kTcp4 : Offload::Kind::kTcp6;
  out.offload.segment_bytes = static_cast<uint16_t>(whole - headers);
  return out;
}

}  // namespace

void Sender::EncapsulateLarge(PeerSlot& slot, const HostPacket& packet, const InnerPacket& inner,
                              const Segmenter& segmenter, Instant now) {
  if (!IsMessage(packet.bytes)) {
    const uint32_t limit = LimitFor(slot.mtu, packet.bytes);
    const bool too_big = segmenter.SegmentBytes(0) > limit;
    const bool answer = MayBeAnswered(packet.bytes, inner);
    const auto cut = CutSmaller(packet, inner, slot.mtu.whole);
    if (too_big && answer && (cut || IsWhole(packet.bytes))) TellTooBig(packet.bytes, limit, now);
    if (cut) return Encapsulate(slot, *cut, inner, now);
    if (too_big && answer && IsWhole(packet.bytes)) {
      return tables_.drops.Count(DropReason::tx_too_big, segmenter.count());
    }
  }
  SendInPieces(slot, inner, segmenter, now);
}

void Sender::SendInPieces(PeerSlot& slot, const InnerPacket& inner, const Segmenter& segmenter,
                          Instant now) {
  const auto& channels = slot.session->channels;
  SendChannel& channel = *channels[inner.flow_hash % channels.size()];
  if (channel.counter.value() + segmenter.count() * kMaxPieces > OMNI_REJECT_AFTER_MESSAGES) {
    return tables_.drops.Count(DropReason::tx_counter_limit, segmenter.count());
  }
  size_t bytes = 0;
  uint32_t datagrams = 0;
  for (size_t i = 0; i < segmenter.count(); ++i) {
    const std::span<uint8_t> packet = std::span(scratch_).first(segmenter.SegmentBytes(i));
    segmenter.Write(i, packet.data());
    if (inner.protocol == kProtocolTcp) ClampMss(packet, inner, slot.mtu.limit);
    datagrams += AddPieces(slot, channel, inner.traffic_class, packet);
    bytes += packet.size();
  }
  slot.activity->tx_packets.Add(datagrams);
  slot.activity->tx_bytes.Add(bytes);
  SetTime(slot.activity->last_tx, now);
  SetTime(slot.activity->last_large_tx, now);
}

uint32_t Sender::AddPieces(const PeerSlot& slot, SendChannel& channel, uint8_t traffic_class,
                           std::span<const uint8_t> packet) {
  constexpr uint32_t kHeader = sizeof(omni_inner_piece);
  const auto total = static_cast<uint32_t>(packet.size());
  if (total <= slot.mtu.whole) {  // the short end of a super-packet
    uint8_t* header = Reserve(slot.path, traffic_class, total + OMNI_DATA_OVERHEAD);
    std::memcpy(header + OMNI_DATA_OVERHEAD, packet.data(), total);
    Number(channel, header, total);
    return 1;
  }
  const PieceLayout layout = PieceLayout::Of(total, slot.mtu.whole);
  const uint32_t id = next_packet_id_++;
  for (uint32_t i = 0; i < layout.count(); ++i) {
    const uint32_t text = kHeader + layout.Bytes(i);
    uint8_t* header = Reserve(slot.path, traffic_class, text + OMNI_DATA_OVERHEAD);
    WritePieceHeader(layout, i, id, header + OMNI_DATA_OVERHEAD);
    std::memcpy(header + OMNI_DATA_OVERHEAD + kHeader, packet.data() + size_t{i} * layout.piece,
                layout.Bytes(i));
    Number(channel, header, text);
  }
  return layout.count();
}

void Sender::TellTooBig(std::span<const uint8_t> packet, uint32_t mtu, Instant now) {
  const double seconds = std::chrono::duration<double>(now - tell_filled_).count();
  tell_tokens_ = std::min(kTellBurst, tell_tokens_ + seconds * kTellsPerSecond);
  tell_filled_ = now;
  if (tell_tokens_ < 1) return;
  tell_tokens_ -= 1;
  events_.OnTooBig(packet, mtu);
}

}  // namespace omni
