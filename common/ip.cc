// SPDX-License-Identifier: Apache-2.0
#include "common/ip.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace omni {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// Digits only, no sign or blanks, within [0, max].
std::optional<uint32_t> ParseNumber(std::string_view text, uint32_t max) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > max) return std::nullopt;
  return value;
}

// "ADDRESS/LENGTH" or "ADDRESS".
std::optional<InterfaceAddress> ParseAddressLength(std::string_view text) {
  const size_t slash = text.find('/');
  const auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address) return std::nullopt;
  const auto bits = static_cast<uint32_t>(address->bits());
  if (slash == std::string_view::npos) {
    return InterfaceAddress{*address, static_cast<uint8_t>(bits)};
  }
  const auto length = ParseNumber(text.substr(slash + 1), bits);
  if (!length) return std::nullopt;
  return InterfaceAddress{*address, static_cast<uint8_t>(*length)};
}

}  // namespace

std::optional<IpAddress> IpAddress::FromBytes(std::span<const uint8_t> raw) {
  IpAddress out;
  if (raw.size() == 16 && std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), raw.begin())) {
    raw = raw.subspan(12);
  }
  if (raw.size() != 4 && raw.size() != 16) return std::nullopt;
  out.family = raw.size() == 4 ? IpFamily::kV4 : IpFamily::kV6;
  std::copy(raw.begin(), raw.end(), out.bytes.begin());
  return out;
}

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  const std::string copy(text);
  std::array<uint8_t, 16> raw{};
  if (copy.size() != text.size() || copy.find('\0') != std::string::npos) return std::nullopt;
  if (inet_pton(AF_INET, copy.c_str(), raw.data()) == 1) return FromBytes({raw.data(), 4});
  if (inet_pton(AF_INET6, copy.c_str(), raw.data()) == 1) return FromBytes(raw);
  return std::nullopt;
}

std::string IpAddress::ToString() const {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(is_v4() ? AF_INET : AF_INET6, bytes.data(), text, sizeof(text));
  return text;
}

IpAddress MaskTo(const IpAddress& address, int length) {
  IpAddress out;
  out.family = address.family;
  const int whole = length / 8;
  std::copy_n(address.bytes.begin(), whole, out.bytes.begin());
  if (length % 8 != 0) {
    out.bytes[static_cast<size_t>(whole)] =
        static_cast<uint8_t>(address.bytes[static_cast<size_t>(whole)] & (0xff00U >> (length % 8)));
  }
  return out;
}

std::optional<IpPrefix> IpPrefix::Parse(std::string_view text) {
  const auto parsed = ParseAddressLength(text);
  if (!parsed || MaskTo(parsed->address, parsed->length) != parsed->address) return std::nullopt;
  return IpPrefix{parsed->address, parsed->length};
}

std::string IpPrefix::ToString() const { return fmt::format("{}/{}", address.ToString(), length); }

std::optional<InterfaceAddress> InterfaceAddress::Parse(std::string_view text) {
  if (text.find('/') == std::string_view::npos) return std::nullopt;
  return ParseAddressLength(text);
}

std::string InterfaceAddress::ToString() const {
  return fmt::format("{}/{}", address.ToString(), length);
}

std::optional<Endpoint> Endpoint::Parse(std::string_view text) {
  Endpoint out;
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto port = ParseNumber(text.substr(colon + 1), 65535);
  if (!port || *port == 0) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (const size_t percent = host.find('%'); bracketed && percent != std::string_view::npos) {
    const auto scope = ParseNumber(host.substr(percent + 1), UINT32_MAX);
    if (!scope || *scope == 0) return std::nullopt;
    out.scope_id = *scope;
    host = host.substr(0, percent);
  }
  const auto address = IpAddress::Parse(host);
  const bool has_colon = host.find(':') != std::string_view::npos;
  if (!address || has_colon != bracketed) return std::nullopt;
  out.address = *address;
  out.port = static_cast<uint16_t>(*port);
  return out;
}

std::optional<Endpoint> Endpoint::FromSockaddr(const sockaddr* address) {
  Endpoint out;
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof(in));
    std::memcpy(out.address.bytes.data(), &in.sin_addr, 4);
    out.port = ntohs(in.sin_port);
    return out;
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in6{};
    std::memcpy(&in6, address, sizeof(in6));
    const auto parsed = IpAddress::FromBytes({in6.sin6_addr.s6_addr, 16});
    out.address = *parsed;
    out.port = ntohs(in6.sin6_port);
    out.scope_id = IN6_IS_ADDR_LINKLOCAL(&in6.sin6_addr) ? in6.sin6_scope_id : 0;
    return out;
  }
  return std::nullopt;
}

socklen_t Endpoint::ToSockaddr(sockaddr_storage* out) const {
  if (address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address.bytes.data(), 4);
    std::memcpy(out, &in, sizeof(in));
    return sizeof(in);
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  in6.sin6_scope_id = scope_id;
  std::memcpy(&in6.sin6_addr, address.bytes.data(), 16);
  std::memcpy(out, &in6, sizeof(in6));
  return sizeof(in6);
}

std::string Endpoint::ToString() const {
  if (address.is_v4()) return fmt::format("{}:{}", address.ToString(), port);
  if (scope_id != 0) return fmt::format("[{}%{}]:{}", address.ToString(), scope_id, port);
  return fmt::format("[{}]:{}", address.ToString(), port);
}

}  // namespace omni
