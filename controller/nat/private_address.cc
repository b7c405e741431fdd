// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/private_address.h"

#include <algorithm>
#include <array>

namespace omni {

bool IsPrivate(const IpAddress& address) {
  static const std::array<IpPrefix, 5> kPrivate = {
      *IpPrefix::Parse("10.0.0.0/8"), *IpPrefix::Parse("172.16.0.0/12"),
      *IpPrefix::Parse("192.168.0.0/16"), *IpPrefix::Parse("100.64.0.0/10"),
      *IpPrefix::Parse("fc00::/7")};
  return std::any_of(kPrivate.begin(), kPrivate.end(),
                     [&](const IpPrefix& prefix) { return prefix.Contains(address); });
}

bool IsLinkLocal(const IpAddress& address) {
  if (address.is_v4()) return address.bytes[0] == 169 && address.bytes[1] == 254;
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

}  // namespace omni
