// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/frame.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "dataplane/core/checksum.h"

namespace omni {
namespace {

constexpr size_t kEthernetBytes = 14;
constexpr size_t kTagBytes = 4;
constexpr size_t kIpv4Bytes = 20;
constexpr size_t kIpv6Bytes = 40;
constexpr size_t kUdpBytes = 8;
constexpr uint16_t kTypeIpv4 = 0x0800;
constexpr uint16_t kTypeIpv6 = 0x86dd;
constexpr uint16_t kTypeTag = 0x8100;
constexpr uint16_t kTypeProviderTag = 0x88a8;
// LIMIT: as bpf/frame.h, which decides what comes here.
constexpr int kMaxTags = 2;
constexpr int kMaxExtensions = 4;
// LIMIT: the default of Linux and RFC 1700.
constexpr uint8_t kHopLimit = 64;
constexpr uint8_t kDontFragment = 0x40;

uint16_t Load16(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

void Store16(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

IpAddress AddressAt(std::span<const uint8_t> bytes, size_t at, IpFamily family) {
  return *IpAddress::FromBytes(bytes.subspan(at, family == IpFamily::kV4 ? 4 : 16));
}

// `udp`: from the header to the end of the IP packet.
std::optional<FrameView> ParseUdp(std::span<uint8_t> udp, FrameView view) {
  if (udp.size() < kUdpBytes) return std::nullopt;
  const size_t bytes = Load16(udp, 4);
  if (bytes < kUdpBytes || bytes > udp.size()) return std::nullopt;
  view.path.remote.port = Load16(udp, 0);
  view.payload = udp.subspan(kUdpBytes, bytes - kUdpBytes);
  if (!view.path.remote.is_set()) return std::nullopt;
  return view;
}

std::optional<FrameView> ParseIpv4(std::span<uint8_t> ip) {
  if (ip.size() < kIpv4Bytes || ip[0] >> 4 != 4) return std::nullopt;
  const size_t header = (ip[0] & 15U) * 4;
  const size_t bytes = Load16(ip, 2);
  if (header < kIpv4Bytes || bytes < header || bytes > ip.size()) return std::nullopt;
  if (ip[9] != IPPROTO_UDP || (Load16(ip, 6) & 0x3fff) != 0) return std::nullopt;
  if (ChecksumFinish(ChecksumAdd(ip.first(header))) != 0) return std::nullopt;
  FrameView view{.traffic_class = ip[1]};
  view.path.remote.address = AddressAt(ip, 12, IpFamily::kV4);
  view.path.local = AddressAt(ip, 16, IpFamily::kV4);
  return ParseUdp(ip.subspan(header, bytes - header), view);
}

bool IsExtension(uint8_t next) {
  return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS;
}

std::optional<FrameView> ParseIpv6(std::span<uint8_t> ip, uint32_t interface) {
  if (ip.size() < kIpv6Bytes || ip[0] >> 4 != 6) return std::nullopt;
  const size_t bytes = Load16(ip, 4);
  if (kIpv6Bytes + bytes > ip.size()) return std::nullopt;
  FrameView view{.traffic_class = static_cast<uint8_t>(ip[0] << 4 | ip[1] >> 4)};
  view.path.remote.address = AddressAt(ip, 8, IpFamily::kV6);
  view.path.local = AddressAt(ip, 24, IpFamily::kV6);
  const bool is_link_local = ip[8] == 0xfe && (ip[9] & 0xc0) == 0x80;
  if (is_link_local) view.path.remote.scope_id = interface;
  std::span<uint8_t> rest = ip.subspan(kIpv6Bytes, bytes);
  uint8_t next = ip[6];
  for (int i = 0; i < kMaxExtensions && IsExtension(next); ++i) {
    if (rest.size() < 8) return std::nullopt;
    const size_t length = (rest[1] + 1U) * 8;
    if (length > rest.size()) return std::nullopt;
    next = rest[0];
    rest = rest.subspan(length);
  }
  if (next != IPPROTO_UDP) return std::nullopt;
  return ParseUdp(rest, view);
}

}  // namespace

std::optional<FrameView> ParseFrame(std::span<uint8_t> frame, uint32_t interface) {
  if (frame.size() < kEthernetBytes) return std::nullopt;
  uint16_t type = Load16(frame, 12);
  std::span<uint8_t> rest = frame.subspan(kEthernetBytes);
  for (int i = 0; i < kMaxTags && (type == kTypeTag || type == kTypeProviderTag); ++i) {
    if (rest.size() < kTagBytes) return std::nullopt;
    type = Load16(rest, 2);
    rest = rest.subspan(kTagBytes);
  }
  if (type == kTypeIpv4) return ParseIpv4(rest);
  if (type == kTypeIpv6) return ParseIpv6(rest, interface);
  return std::nullopt;
}

FrameHead::FrameHead(const FrameAddresses& addresses) : is_v4_(addresses.remote.address.is_v4()) {
  uint8_t* at = std::ranges::copy(addresses.to, head_.data()).out;
  at = std::ranges::copy(addresses.from, at).out;
  if (addresses.vlan) {
    Store16(at, kTypeTag);
    Store16(at + 2, *addresses.vlan);
    at += kTagBytes;
  }
  Store16(at, is_v4_ ? kTypeIpv4 : kTypeIpv6);
  at += 2;
  ip_at_ = static_cast<uint8_t>(at - head_.data());
  if (is_v4_) {
    at[0] = 0x45;
    at[6] = kDontFragment;
    at[8] = kHopLimit;
    at[9] = IPPROTO_UDP;
    std::ranges::copy(addresses.local.raw(), at + 12);
    std::ranges::copy(addresses.remote.address.raw(), at + 16);
    at += kIpv4Bytes;
  } else {
    at[0] = 0x60;
    at[6] = IPPROTO_UDP;
    at[7] = kHopLimit;
    std::ranges::copy(addresses.local.raw(), at + 8);
    std::ranges::copy(addresses.remote.address.raw(), at + 24);
    at += kIpv6Bytes;
  }
  Store16(at, addresses.local_port);
  Store16(at + 2, addresses.remote.port);
  bytes_ = static_cast<uint8_t>(at + kUdpBytes - head_.data());
}

void FrameHead::Write(std::span<uint8_t> payload, uint8_t traffic_class) const {
  uint8_t* const frame = payload.data() - bytes_;
  std::memcpy(frame, head_.data(), bytes_);
  uint8_t* const ip = frame + ip_at_;
  uint8_t* const udp = payload.data() - kUdpBytes;
  const size_t udp_bytes = kUdpBytes + payload.size();
  Store16(udp + 4, udp_bytes);
  std::span<const uint8_t> addresses(ip + 8, 32);
  if (is_v4_) {
    addresses = std::span<const uint8_t>(ip + 12, 8);
    ip[1] = traffic_class;
    Store16(ip + 2, kIpv4Bytes + udp_bytes);
    StoreWord(ip + 10, ChecksumFinish(ChecksumAdd({ip, kIpv4Bytes})));
  } else {
    ip[0] = static_cast<uint8_t>(0x60 | traffic_class >> 4);
    ip[1] = static_cast<uint8_t>(traffic_class << 4);
    Store16(ip + 4, udp_bytes);
  }
  const uint64_t pseudo = PseudoHeaderSum(addresses, IPPROTO_UDP, static_cast<uint32_t>(udp_bytes));
  const uint16_t sum = ChecksumFinish(ChecksumAdd({udp, udp_bytes}, pseudo));
  // Zero would mean: no checksum.
  StoreWord(udp + 6, sum == 0 ? 0xffff : sum);
}

}  // namespace omni
