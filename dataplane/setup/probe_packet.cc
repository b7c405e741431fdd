// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/probe_packet.h"

#include <algorithm>

#include "dataplane/core/checksum.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/transport_header.h"

namespace omni {
namespace {

constexpr uint8_t kHopLimit = 64;
constexpr size_t kTcpAcknowledgement = 8;
constexpr size_t kTcpDataOffset = 12;
constexpr size_t kTcpWindow = 14;

void Append(Bytes& out, std::span<const uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

Bytes IpHeader(const ProbeFlow& flow, uint8_t protocol, size_t transport_bytes) {
  const bool v4 = flow.from.address.is_v4();
  Bytes out(v4 ? kIpv4Header : kIpv6Header);
  const auto source = flow.from.address.raw();
  const auto destination = flow.to.address.raw();
  if (v4) {
    out[0] = 0x45;
    StoreField<Be16>(&out[2], static_cast<uint16_t>(kIpv4Header + transport_bytes));
    out[6] = 0x40;  // do not fragment
    out[8] = kHopLimit;
    out[9] = protocol;
    std::ranges::copy(source, out.begin() + 12);
    std::ranges::copy(destination, out.begin() + 16);
    StoreWord(&out[10], ChecksumFinish(ChecksumAdd(out)));
  } else {
    out[0] = 0x60;
    StoreField<Be16>(&out[4], static_cast<uint16_t>(transport_bytes));
    out[6] = protocol;
    out[7] = kHopLimit;
    std::ranges::copy(source, out.begin() + 8);
    std::ranges::copy(destination, out.begin() + 24);
  }
  return out;
}

}  // namespace

Bytes ProbeBytes(size_t count) {
  Bytes out(count);
  for (size_t i = 0; i < count; ++i) out[i] = static_cast<uint8_t>(i * 7 + i / 251);
  return out;
}

std::vector<Bytes> CutBytes(std::span<const uint8_t> bytes, size_t segment_bytes) {
  std::vector<Bytes> out;
  for (; !bytes.empty(); bytes = bytes.subspan(out.back().size())) {
    const auto segment = bytes.first(std::min(bytes.size(), segment_bytes));
    out.emplace_back(segment.begin(), segment.end());
  }
  return out;
}

ProbePacket::ProbePacket(const ProbeFlow& flow, uint8_t protocol, const Bytes& transport,
                         size_t checksum_offset)
    : buffer_(TunPort::kHeadroom) {
  Append(buffer_, IpHeader(flow, protocol, transport.size()));
  const size_t at = buffer_.size();
  Append(buffer_, transport);
  const uint64_t pseudo =
      PseudoHeaderSum(InnerAddresses(bytes()), protocol, static_cast<uint32_t>(transport.size()));
  uint16_t checksum = ChecksumFinish(ChecksumAdd(transport, pseudo));
  // RFC 768: zero would mean that there is none.
  if (checksum == 0) checksum = 0xffff;
  StoreWord(&buffer_[at + checksum_offset], checksum);
}

ProbePacket ProbePacket::MakeTcp(const ProbeFlow& flow, const Tcp& tcp,
                                 std::span<const uint8_t> payload) {
  Bytes out(kTcpHeader);
  StoreField<Be16>(&out[0], flow.from.port);
  StoreField<Be16>(&out[2], flow.to.port);
  StoreField<Be32>(&out[kTcpSequence], tcp.sequence);
  StoreField<Be32>(&out[kTcpAcknowledgement], tcp.acknowledgement);
  out[kTcpDataOffset] = static_cast<uint8_t>((kTcpHeader + tcp.options.size()) / 4 << 4);
  out[kTcpFlags] = tcp.flags;
  StoreField<Be16>(&out[kTcpWindow], uint16_t{0xffff});
  Append(out, tcp.options);
  Append(out, payload);
  return {flow, kProtocolTcp, out, kTcpChecksum};
}

ProbePacket ProbePacket::MakeUdp(const ProbeFlow& flow, std::span<const uint8_t> payload) {
  Bytes out(kUdpHeader);
  StoreField<Be16>(&out[0], flow.from.port);
  StoreField<Be16>(&out[2], flow.to.port);
  StoreField<Be16>(&out[kUdpLength], static_cast<uint16_t>(kUdpHeader + payload.size()));
  Append(out, payload);
  return {flow, kProtocolUdp, out, kUdpChecksum};
}

bool IsIntact(std::span<const uint8_t> packet) {
  const auto inner = ParseInner(packet);
  if (!inner) return false;
  const bool v4 = packet[0] >> 4 == 4;
  if (v4 && ChecksumFinish(ChecksumAdd(packet.first(inner->transport_offset))) != 0) return false;
  const auto transport = packet.subspan(inner->transport_offset);
  const uint64_t pseudo = PseudoHeaderSum(InnerAddresses(packet), inner->protocol,
                                          static_cast<uint32_t>(transport.size()));
  return ChecksumFinish(ChecksumAdd(transport, pseudo)) == 0;
}

}  // namespace omni
