// SPDX-License-Identifier: Apache-2.0
#include "nucleus/registry/leases.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace omni {
namespace {

NodeId Node(uint64_t number) {
  NodeId id;
  for (size_t i = 0; i < sizeof(number); ++i) {
    id.bytes[i] = static_cast<uint8_t>(number >> (8 * i));
  }
  return id;
}

IpAddress At(const std::string& text) { return *IpAddress::Parse(text); }
std::vector<IpPrefix> Pools(std::initializer_list<const char*> texts) {
  std::vector<IpPrefix> pools;
  for (const char* text : texts) pools.push_back(*IpPrefix::Parse(text));
  return pools;
}
bool Nobody(const IpAddress&) { return false; }

TEST(Leases, ANodeGetsOneAddressOfEachPoolAndTheSameOnesAgain) {
  Leases leases(Pools({"10.77.0.0/16", "fd77::/64"}));
  const auto first = leases.Allocate(Node(1), {}, Nobody);
  ASSERT_EQ(first.addresses.size(), 2U);
  EXPECT_EQ(first.added.size(), 2U);
  EXPECT_TRUE(IpPrefix::Parse("10.77.0.0/16")->Contains(first.addresses[0].address));
  EXPECT_EQ(first.addresses[0].length, 16);
  EXPECT_TRUE(IpPrefix::Parse("fd77::/64")->Contains(first.addresses[1].address));
  EXPECT_EQ(first.addresses[1].length, 64);
  const auto wanted = std::vector<IpAddress>{At("10.77.9.9")};
  const auto again = leases.Allocate(Node(1), wanted, Nobody);
  EXPECT_EQ(again.addresses, first.addresses);
  EXPECT_TRUE(again.added.empty());
  EXPECT_EQ(leases.size(), 2U);
}

TEST(Leases, ASmallPoolIsUsedToItsLastAddressAndNoFurther) {
  Leases leases(Pools({"10.77.0.0/24"}));
  std::set<IpAddress> given;
  for (uint64_t i = 0; i < 254; ++i) {
    const auto grant = leases.Allocate(Node(i), {}, Nobody);
    ASSERT_EQ(grant.addresses.size(), 1U) << i;
    EXPECT_TRUE(given.insert(grant.addresses[0].address).second) << i;
  }
  EXPECT_FALSE(given.contains(At("10.77.0.0")));
  EXPECT_FALSE(given.contains(At("10.77.0.255")));
  EXPECT_TRUE(leases.Allocate(Node(1000), {}, Nobody).addresses.empty());
  const auto released = leases.Release(Node(17));
  ASSERT_EQ(released.size(), 1U);
  EXPECT_EQ(leases.Allocate(Node(1000), {}, Nobody).addresses[0].address, released[0]);
}

TEST(Leases, AWishIsGrantedWhereItIsFreeAndLiesInAPool) {
  Leases leases(Pools({"10.77.0.0/24", "fd77::/64"}));
  const std::vector<IpAddress> wanted = {At("192.0.2.1"), At("10.77.0.0"), At("10.77.0.255"),
                                         At("10.77.0.9"), At("fd77::5")};
  const auto first = leases.Allocate(Node(1), wanted, Nobody);
  EXPECT_EQ(first.addresses[0].address, At("10.77.0.9"));
  EXPECT_EQ(first.addresses[1].address, At("fd77::5"));
  const auto second = leases.Allocate(Node(2), wanted, Nobody);
  ASSERT_EQ(second.addresses.size(), 2U);
  EXPECT_NE(second.addresses[0].address, At("10.77.0.9"));
  EXPECT_NE(second.addresses[1].address, At("fd77::5"));
}

TEST(Leases, WhatOthersHaveWithoutALeaseIsNotGiven) {
  Leases leases(Pools({"10.77.0.0/29"}));
  const auto taken = [](const IpAddress& a) { return a != At("10.77.0.4"); };
  EXPECT_EQ(leases.Allocate(Node(1), {}, taken).addresses[0].address, At("10.77.0.4"));
  EXPECT_TRUE(leases.Allocate(Node(2), {}, taken).addresses.empty());
}

TEST(Leases, ALeaseOfAFormerLifeComesBackUnlessThePoolsChanged) {
  Leases leases(Pools({"10.77.0.0/24"}));
  EXPECT_TRUE(leases.Restore(At("10.77.0.9"), Node(1)));
  EXPECT_FALSE(leases.Restore(At("10.77.0.9"), Node(2)));   // another's
  EXPECT_FALSE(leases.Restore(At("10.77.0.10"), Node(1)));  // a second one
  EXPECT_FALSE(leases.Restore(At("10.78.0.9"), Node(3)));   // of a pool that is gone
  EXPECT_FALSE(leases.Restore(At("10.77.0.255"), Node(3)));
  EXPECT_EQ(leases.Allocate(Node(1), {}, Nobody).addresses[0].address, At("10.77.0.9"));
  EXPECT_EQ(*leases.HolderOf(At("10.77.0.9")), Node(1));
}

TEST(Leases, AFullPoolOfAnySizeCostsBoundedWork) {
  for (const char* pool : {"10.0.0.0/8", "fd00::/32"}) {
    Leases leases(Pools({pool}));
    size_t asked = 0;
    const auto full = [&](const IpAddress&) {
      ++asked;
      return true;
    };
    EXPECT_TRUE(leases.Allocate(Node(1), {}, full).addresses.empty());
    EXPECT_LE(asked, 64U + 4096U);
    EXPECT_GT(asked, 4000U);
  }
}

// Against a map, in random order: nothing is given twice, nothing is lost, releases free exactly
// what was held.
TEST(Leases, AgreeWithAMap) {
  const auto seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Leases leases(Pools({"10.77.0.0/27"}));
  std::map<uint64_t, IpAddress> model;
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t node = random() % 48;
    if (random() % 3 == 0) {
      const auto released = leases.Release(Node(node));
      ASSERT_EQ(released.size(), model.erase(node));
      continue;
    }
    const auto grant = leases.Allocate(Node(node), {}, Nobody);
    if (const auto known = model.find(node); known != model.end()) {
      ASSERT_EQ(grant.addresses[0].address, known->second);
    } else if (model.size() == 30) {
      ASSERT_TRUE(grant.addresses.empty());
    } else {
      ASSERT_EQ(grant.addresses.size(), 1U);
      for (const auto& [other, address] : model) ASSERT_NE(address, grant.addresses[0].address);
      model.emplace(node, grant.addresses[0].address);
    }
    ASSERT_EQ(leases.size(), model.size());
  }
}

}  // namespace
}  // namespace omni
