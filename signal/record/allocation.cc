// SPDX-License-Identifier: Apache-2.0
#include "signal/record/allocation.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/encoding.h"

namespace omni {
namespace {

namespace pb = signal::v1;

constexpr const char* kPrivate[] = {"10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12",
                                    "192.168.0.0/16", "fc00::/7"};

// All bits behind the prefix are zero, or (IPv4) all are one.
bool IsReserved(const InterfaceAddress& own) {
  const IpAddress network = MaskTo(own.address, own.length);
  if (own.address == network) return true;
  if (!own.address.is_v4()) return false;
  for (int bit = own.length; bit < 32; ++bit) {
    const auto byte = static_cast<size_t>(bit / 8);
    if ((own.address.bytes[byte] & (0x80U >> static_cast<unsigned>(bit % 8))) == 0) return false;
  }
  return true;
}

}  // namespace

bool IsPrivateNetwork(const IpPrefix& network) {
  return std::ranges::any_of(kPrivate, [&](const char* text) {
    const IpPrefix outer = *IpPrefix::Parse(text);
    return network.length >= outer.length && outer.Contains(network.address);
  });
}

absl::StatusOr<std::vector<InterfaceAddress>> ReadAllocated(const pb::Allocated& message) {
  std::vector<InterfaceAddress> out;
  for (const pb::Allocated::Address& entry : message.addresses()) {
    const auto address = IpAddress::FromBytes(AsBytes(entry.address()));
    if (!address || entry.length() > static_cast<uint32_t>(address->bits())) {
      return absl::InvalidArgumentError("an allocated address is none");
    }
    const InterfaceAddress own{.address = *address, .length = static_cast<uint8_t>(entry.length())};
    const IpPrefix network{MaskTo(own.address, own.length), own.length};
    if (!IsPrivateNetwork(network)) {
      return absl::InvalidArgumentError(
          fmt::format("{} lies in no private network", own.ToString()));
    }
    if (IsReserved(own)) {
      return absl::InvalidArgumentError(
          fmt::format("{} is no address of a single machine", own.ToString()));
    }
    const bool second = std::ranges::any_of(
        out, [&](const InterfaceAddress& o) { return o.address.family == own.address.family; });
    if (second) return absl::InvalidArgumentError("two addresses of one family are allocated");
    out.push_back(own);
  }
  return out;
}

pb::Allocated AllocatedMessage(const std::vector<InterfaceAddress>& addresses) {
  pb::Allocated message;
  for (const InterfaceAddress& own : addresses) {
    pb::Allocated::Address& out = *message.add_addresses();
    out.set_address(AsString(own.address.raw()));
    out.set_length(own.length);
  }
  return message;
}

absl::StatusOr<std::vector<IpAddress>> ReadWanted(const pb::Allocate& message) {
  if (static_cast<size_t>(message.wanted_size()) > kMaxWantedAddresses) {
    return absl::InvalidArgumentError("more than 16 addresses are wanted");
  }
  std::vector<IpAddress> out;
  for (const std::string& bytes : message.wanted()) {
    const auto address = IpAddress::FromBytes(AsBytes(bytes));
    if (!address) return absl::InvalidArgumentError("a wanted address is none");
    out.push_back(*address);
  }
  return out;
}

}  // namespace omni
