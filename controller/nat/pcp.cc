// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/pcp.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <string_view>

namespace omni {
namespace {

constexpr uint8_t kVersion = 2;
constexpr uint8_t kOpcodeMap = 1;
constexpr uint8_t kResponse = 0x80;
// Offsets, RFC 6887 sections 7.1, 7.2 and 11.1.
constexpr size_t kResultCode = 3;
constexpr size_t kLifetime = 4;
constexpr size_t kClient = 8;
constexpr size_t kNonce = 24;
constexpr size_t kProtocol = 36;
constexpr size_t kInternalPort = 40;
constexpr size_t kExternalPort = 42;
constexpr size_t kExternalAddress = 44;
constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
// LIMIT: of answers that are shorter, as those of routers that speak NAT-PMP only (RFC 6886 section
// 3.5).
constexpr size_t kMinAnswer = 4;
constexpr uint8_t kUnsupportedVersion = 1;

void Put(std::span<uint8_t> out, size_t at, uint32_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i)
    out[at + i] = static_cast<uint8_t>(value >> 8 * (bytes - 1 - i));
}

uint32_t Get(std::span<const uint8_t> in, size_t at, size_t bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = value << 8U | in[at + i];
  return value;
}

// RFC 6887 section 7.4.
std::string_view TextOf(uint8_t result) {
  constexpr std::array<std::string_view, 14> kTexts = {
      "success",
      "unsupported version",
      "not authorized",
      "malformed request",
      "unsupported opcode",
      "unsupported option",
      "malformed option",
      "the router's network is down",
      "the router has no free port or memory",
      "the router maps no UDP",
      "the quota of this machine is used up",
      "the port cannot be provided",
      "there is another NAT between us and the router",
      "too many remote peers"};
  return result < kTexts.size() ? kTexts[result] : "an error that RFC 6887 does not have";
}

bool IsMachine(const IpAddress& address) {
  return address.is_v4() && address.bytes[0] != 0 && address.bytes[0] < 224;
}

}  // namespace

std::array<uint8_t, kPcpMapBytes> PcpMapRequest(const IpAddress& client, uint16_t port,
                                                std::chrono::seconds lifetime,
                                                const PcpNonce& nonce) {
  std::array<uint8_t, kPcpMapBytes> out{};
  out[0] = kVersion;
  out[1] = kOpcodeMap;
  Put(out, kLifetime, static_cast<uint32_t>(lifetime.count()), 4);
  std::ranges::copy(kMapped, &out[kClient]);
  std::ranges::copy(client.raw(), &out[kClient + kMapped.size()]);
  std::ranges::copy(nonce, &out[kNonce]);
  out[kProtocol] = IPPROTO_UDP;
  Put(out, kInternalPort, port, 2);
  // RFC 6887 section 15: no suggestion when it is given back.
  Put(out, kExternalPort, lifetime.count() > 0 ? port : 0, 2);
  std::ranges::copy(kMapped, &out[kExternalAddress]);
  return out;
}

absl::StatusOr<PcpGrant> ReadPcpMapResponse(std::span<const uint8_t> datagram, uint16_t port,
                                            const PcpNonce& nonce) {
  const auto stray = [] { return absl::InvalidArgumentError("no answer to the PCP request"); };
  if (datagram.size() < kMinAnswer || datagram.size() > kMaxPcpBytes ||
      (datagram[1] & kResponse) == 0) {
    return stray();
  }
  const uint8_t result = datagram[kResultCode];
  if (datagram[0] != kVersion || result == kUnsupportedVersion) {
    return absl::UnimplementedError("the router does not speak PCP");
  }
  if (datagram.size() < kPcpMapBytes || datagram[1] != (kResponse | kOpcodeMap) ||
      !std::ranges::equal(datagram.subspan(kNonce, nonce.size()), nonce) ||
      datagram[kProtocol] != IPPROTO_UDP || Get(datagram, kInternalPort, 2) != port) {
    return stray();
  }
  if (result != 0) {
    return absl::UnavailableError(fmt::format("PCP: {} (code {})", TextOf(result), result));
  }
  const auto address = datagram.subspan(kExternalAddress, 16);
  PcpGrant grant{
      .outer = {.address = {}, .port = static_cast<uint16_t>(Get(datagram, kExternalPort, 2))},
      .lifetime = std::chrono::seconds(Get(datagram, kLifetime, 4))};
  if (std::ranges::equal(address.first(kMapped.size()), kMapped)) {
    grant.outer.address = IpAddress::FromBytes(address.last(4)).value_or(IpAddress());
  }
  if (!IsMachine(grant.outer.address) || grant.outer.port == 0) {
    return absl::UnavailableError("PCP: the router grants no port of an IPv4 address");
  }
  return grant;
}

}  // namespace omni
