// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/routes.h"

#include <algorithm>

#include "common/byte_order.h"

namespace omni {

RouteTable::Key RouteTable::KeyOf(const IpAddress& address) {
  Be64 high;
  Be64 low;
  std::memcpy(&high, address.bytes.data(), 8);
  std::memcpy(&low, address.bytes.data() + 8, 8);
  return {high.value(), low.value()};
}

RouteTable::Key RouteTable::MaskOf(int length) {
  Key mask;
  if (length > 0) mask.high = ~uint64_t{0} << (64 - std::min(length, 64));
  if (length > 64) mask.low = ~uint64_t{0} << (128 - length);
  return mask;
}

RouteTable::RouteTable(const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    std::vector<Level>& levels = LevelsOf(entry.prefix.address.family);
    auto level = std::ranges::find(levels, entry.prefix.length, &Level::length);
    if (level == levels.end()) {
      levels.push_back({entry.prefix.length, MaskOf(entry.prefix.length), {}});
      level = levels.end() - 1;
    }
    level->peers.insert_or_assign(KeyOf(entry.prefix.address), entry.peer);
  }
  std::ranges::sort(v4_, std::greater<>(), &Level::length);
  std::ranges::sort(v6_, std::greater<>(), &Level::length);
}

PeerIndex RouteTable::Lookup(const IpAddress& address) const {
  const Key key = KeyOf(address);
  for (const Level& level : address.is_v4() ? v4_ : v6_) {
    const auto found = level.peers.find({key.high & level.mask.high, key.low & level.mask.low});
    if (found != level.peers.end()) return found->second;
  }
  return kNoPeer;
}

}  // namespace omni
