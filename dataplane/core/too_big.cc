// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/too_big.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "dataplane/core/checksum.h"
#include "dataplane/core/transport_header.h"

namespace omni {
namespace {

constexpr uint8_t kProtocolIcmp = 1;
constexpr uint8_t kProtocolIcmp6 = 58;
constexpr size_t kIcmpHeader = 8;
constexpr uint8_t kUnreachable = 3;
constexpr uint8_t kFragmentationNeeded = 4;
constexpr uint8_t kPacketTooBig6 = 2;
// LIMIT: RFC 1812 section 4.3.2.3: an ICMP error of at most 576 bytes.
constexpr size_t kMaxIcmp4 = 576;
constexpr uint8_t kHopLimit = 64;
constexpr uint8_t kMssKind = 2;
constexpr uint8_t kMssLength = 4;

bool IsV4(std::span<const uint8_t> packet) { return packet[0] >> 4 == 4; }

// The address of one machine, as far as the address itself tells.
bool IsUnicast(const IpAddress& address) {
  if (address == MaskTo(address, 0)) return false;
  if (!address.is_v4()) return address.bytes[0] != 0xff;
  return address.bytes[0] < 0xe0;  // multicast, reserved and broadcast are above
}

bool IsLaterFragment(std::span<const uint8_t> packet, const InnerPacket& inner) {
  if (!inner.is_fragment) return false;
  // IPv6: the fragment header is the last one before the upper layer.
  const size_t at = IsV4(packet) ? 6 : inner.transport_offset - 6U;
  const uint16_t mask = IsV4(packet) ? 0x1fff : 0xfff8;
  return (LoadField<Be16>(packet.data() + at) & mask) != 0;
}

bool IsIcmpError(std::span<const uint8_t> packet, const InnerPacket& inner) {
  const bool v4 = IsV4(packet);
  if (inner.protocol != (v4 ? kProtocolIcmp : kProtocolIcmp6)) return false;
  if (packet.size() <= inner.transport_offset) return true;  // who knows
  const uint8_t type = packet[inner.transport_offset];
  // Queries are few; whatever is unknown counts as an error.
  constexpr std::array<uint8_t, 6> kQueries = {0, 8, 13, 14, 17, 18};
  return v4 ? std::ranges::find(kQueries, type) == kQueries.end() : type < 128 || type == 137;
}

void WriteIpv4Header(std::span<const uint8_t> cause, std::vector<uint8_t>& out) {
  out[0] = 0x45;
  StoreField<Be16>(&out[2], static_cast<uint16_t>(out.size()));
  out[8] = kHopLimit;
  out[9] = kProtocolIcmp;
  std::copy_n(&cause[16], 4, &out[12]);
  std::copy_n(&cause[12], 4, &out[16]);
  StoreWord(&out[10], ChecksumFinish(ChecksumAdd({out.data(), kIpv4Header})));
}

void WriteIpv6Header(std::span<const uint8_t> cause, std::vector<uint8_t>& out) {
  out[0] = 0x60;
  StoreField<Be16>(&out[4], static_cast<uint16_t>(out.size() - kIpv6Header));
  out[6] = kProtocolIcmp6;
  out[7] = kHopLimit;
  std::copy_n(&cause[24], 16, &out[8]);
  std::copy_n(&cause[8], 16, &out[24]);
}

// Where the value of the MSS option of a SYN stands; empty when there is none.
std::optional<size_t> FindMss(std::span<const uint8_t> tcp) {
  const size_t end = (tcp[12] >> 4) * 4U;
  if (end < kTcpHeader || end > tcp.size()) return std::nullopt;
  for (size_t at = kTcpHeader; at < end;) {
    const uint8_t kind = tcp[at];
    if (kind == 0) break;  // end of the list
    if (kind == 1) {       // padding
      ++at;
      continue;
    }
    if (at + 2 > end || tcp[at + 1] < 2 || at + tcp[at + 1] > end) break;
    if (kind == kMssKind) {
      return tcp[at + 1] == kMssLength ? std::optional(at + 2) : std::nullopt;
    }
    at += tcp[at + 1];
  }
  return std::nullopt;
}

uint16_t SwapBytes(uint16_t word) { return static_cast<uint16_t>(word << 8 | word >> 8); }

}  // namespace

bool IsWhole(std::span<const uint8_t> packet) { return !IsV4(packet) || (packet[6] & 0x40U) != 0; }

bool MayBeAnswered(std::span<const uint8_t> packet, const InnerPacket& inner) {
  return IsUnicast(inner.source) && IsUnicast(inner.destination) &&
         !IsLaterFragment(packet, inner) && !IsIcmpError(packet, inner);
}

void WriteTooBig(std::span<const uint8_t> packet, uint32_t mtu, std::vector<uint8_t>& out) {
  const bool v4 = IsV4(packet);
  const size_t ip = v4 ? kIpv4Header : kIpv6Header;
  const size_t room = (v4 ? kMaxIcmp4 : size_t{kIpv6MinimumMtu}) - ip - kIcmpHeader;
  const size_t quoted = std::min(packet.size(), room);
  out.assign(ip + kIcmpHeader + quoted, 0);
  v4 ? WriteIpv4Header(packet, out) : WriteIpv6Header(packet, out);
  uint8_t* icmp = &out[ip];
  icmp[0] = v4 ? kUnreachable : kPacketTooBig6;
  icmp[1] = v4 ? kFragmentationNeeded : 0;
  StoreField<Be32>(icmp + 4, v4 ? std::min(mtu, 0xffffU) : mtu);
  std::copy_n(packet.data(), quoted, icmp + kIcmpHeader);
  const auto length = static_cast<uint32_t>(kIcmpHeader + quoted);
  const uint64_t pseudo = v4 ? 0 : PseudoHeaderSum(InnerAddresses(out), kProtocolIcmp6, length);
  StoreWord(icmp + 2, ChecksumFinish(ChecksumAdd({icmp, length}, pseudo)));
}

void ClampMss(std::span<uint8_t> packet, const InnerPacket& inner, uint32_t mtu) {
  if (inner.protocol != kProtocolTcp || inner.is_fragment ||
      packet.size() < inner.transport_offset + kTcpHeader) {
    return;
  }
  const auto tcp = packet.subspan(inner.transport_offset);
  if ((tcp[kTcpFlags] & kTcpSyn) == 0) return;
  const auto mss = FindMss(tcp);
  const size_t headers = inner.transport_offset + kTcpHeader;
  if (!mss || mtu <= headers || LoadField<Be16>(&tcp[*mss]) <= mtu - headers) return;
  uint16_t before = LoadWord(&tcp[*mss]);
  StoreField<Be16>(&tcp[*mss], static_cast<uint16_t>(mtu - headers));
  uint16_t after = LoadWord(&tcp[*mss]);
  // Options are not aligned: at an odd place each byte counts in the other half of its word.
  if (*mss % 2 == 1) {
    before = SwapBytes(before);
    after = SwapBytes(after);
  }
  StoreWord(&tcp[kTcpChecksum], ChecksumUpdate(LoadWord(&tcp[kTcpChecksum]), before, after));
}

}  // namespace omni
