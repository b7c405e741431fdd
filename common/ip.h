// SPDX-License-Identifier: Apache-2.0
// Addresses: IpAddress (4 or 16 bytes), IpPrefix (an address block) and Endpoint (address and UDP
// port). Plain values. IPv4-mapped IPv6 addresses become IPv4 at the border, so that one host has
// one address.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace omni {

enum class IpFamily : uint8_t { kV4 = 4, kV6 = 6 };

struct IpAddress {
  std::array<uint8_t, 16> bytes{};  // IPv4: the first four, the rest zero
  IpFamily family = IpFamily::kV4;

  // Empty unless `raw` has 4 or 16 bytes. Network order.
  static std::optional<IpAddress> FromBytes(std::span<const uint8_t> raw);
  static std::optional<IpAddress> Parse(std::string_view text);

  bool is_v4() const { return family == IpFamily::kV4; }
  int bits() const { return is_v4() ? 32 : 128; }
  std::span<const uint8_t> raw() const { return {bytes.data(), is_v4() ? 4U : 16U}; }
  std::string ToString() const;

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const IpAddress& a) {
    return H::combine(std::move(h), a.bytes, a.family);
  }
};

// All bits of `address` beyond `length` set to zero.
IpAddress MaskTo(const IpAddress& address, int length);

struct IpPrefix {
  IpAddress address;  // host bits zero
  uint8_t length = 0;

  // "10.0.0.0/8", "fd00::/64", or a plain address for one host. Empty when malformed or when host
  // bits are set.
  static std::optional<IpPrefix> Parse(std::string_view text);

  bool Contains(const IpAddress& a) const {
    return a.family == address.family && MaskTo(a, length) == address;
  }
  std::string ToString() const;

  friend auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const IpPrefix& p) {
    return H::combine(std::move(h), p.address, p.length);
  }
};

// An interface address: host bits kept, with the length of its network ("10.77.0.1/24").
struct InterfaceAddress {
  IpAddress address;
  uint8_t length = 0;

  static std::optional<InterfaceAddress> Parse(std::string_view text);
  std::string ToString() const;
  friend auto operator<=>(const InterfaceAddress&, const InterfaceAddress&) = default;
};

struct Endpoint {
  IpAddress address;
  uint16_t port = 0;
  uint32_t scope_id = 0;  // interface index of a link-local IPv6 address

  // "192.0.2.7:51900", "[2001:db8::7]:51900", "[fe80::1%3]:51900" (numeric scope). Port 1-65535.
  static std::optional<Endpoint> Parse(std::string_view text);
  static std::optional<Endpoint> FromSockaddr(const sockaddr* address);
  // Fills `out`, which holds either family, and gives the length to pass to the kernel.
  socklen_t ToSockaddr(sockaddr_storage* out) const;

  bool is_set() const { return port != 0; }
  std::string ToString() const;

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Endpoint& e) {
    return H::combine(std::move(h), e.address, e.port, e.scope_id);
  }
};

}  // namespace omni
