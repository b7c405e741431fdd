// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/routes.h"

#include <gtest/gtest.h>

#include <random>

namespace omni {
namespace {

IpAddress Address(const char* text) { return *IpAddress::Parse(text); }

TEST(RouteTable, PrefersTheLongestPrefix) {
  const RouteTable table({{*IpPrefix::Parse("0.0.0.0/0"), 1},
                          {*IpPrefix::Parse("10.0.0.0/8"), 2},
                          {*IpPrefix::Parse("10.77.0.2/32"), 3},
                          {*IpPrefix::Parse("fd77::/64"), 4}});
  EXPECT_EQ(table.Lookup(Address("192.0.2.1")), 1U);
  EXPECT_EQ(table.Lookup(Address("10.77.0.1")), 2U);
  EXPECT_EQ(table.Lookup(Address("10.77.0.2")), 3U);
  EXPECT_EQ(table.Lookup(Address("fd77::9")), 4U);
  EXPECT_EQ(table.Lookup(Address("fd78::9")), kNoPeer);
}

TEST(RouteTable, KeepsTheFamiliesApart) {
  const RouteTable table({{*IpPrefix::Parse("::/0"), 1}});
  EXPECT_EQ(table.Lookup(Address("0.0.0.0")), kNoPeer);
  EXPECT_EQ(table.Lookup(Address("::")), 1U);
}

// Addresses out of few bits, so that prefixes overlap often.
IpAddress RandomAddress(std::mt19937_64& random, IpFamily family) {
  IpAddress out;
  out.family = family;
  const size_t size = out.raw().size();
  for (size_t i = 0; i < size; ++i) {
    out.bytes[i] = static_cast<uint8_t>(random() % 4 == 0 ? 0x80U >> (random() % 8) : 0);
  }
  return out;
}

TEST(RouteTable, AgreesWithALinearSearch) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 10'000; ++round) {
    std::vector<RouteTable::Entry> entries;
    for (uint32_t i = 0; i < 12; ++i) {
      const IpFamily family = random() % 2 == 0 ? IpFamily::kV4 : IpFamily::kV6;
      const IpAddress address = RandomAddress(random, family);
      const auto length = static_cast<uint8_t>(random() % (address.bits() + 1U));
      const IpPrefix prefix{MaskTo(address, length), length};
      const auto same = [&](const RouteTable::Entry& e) { return e.prefix == prefix; };
      if (std::none_of(entries.begin(), entries.end(), same)) entries.push_back({prefix, i});
    }
    const RouteTable table(entries);
    for (int i = 0; i < 8; ++i) {
      const IpAddress address =
          RandomAddress(random, random() % 2 == 0 ? IpFamily::kV4 : IpFamily::kV6);
      PeerIndex expected = kNoPeer;
      int longest = -1;
      for (const RouteTable::Entry& entry : entries) {
        if (!entry.prefix.Contains(address) || entry.prefix.length <= longest) continue;
        longest = entry.prefix.length;
        expected = entry.peer;
      }
      ASSERT_EQ(table.Lookup(address), expected) << address.ToString() << " round " << round;
    }
  }
}

}  // namespace
}  // namespace omni
