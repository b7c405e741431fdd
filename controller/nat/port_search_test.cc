// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/port_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace omni {
namespace {

const IpAddress kHard = *IpAddress::Parse("198.51.100.7");

std::vector<uint16_t> All(PortSearch& search) {
  std::vector<uint16_t> ports;
  while (const auto place = search.Next()) {
    EXPECT_EQ(place->address, kHard);
    ports.push_back(place->port);
  }
  return ports;
}

TEST(PortSearch, TriesEachPortOnceAndEnds) {
  for (const uint32_t random : {0U, 7U, 64'511U, 0xffff'ffffU}) {
    const std::vector<uint16_t> seen = {50'000, 50'001, 1024, 65'535, 80};
    PortSearch search(kHard, seen, random);
    const auto ports = All(search);
    EXPECT_EQ(ports.size(), PortSearch::kTotal);
    EXPECT_EQ(std::set(ports.begin(), ports.end()).size(), PortSearch::kTotal);
    EXPECT_EQ(*std::ranges::min_element(ports), 1024);
    EXPECT_EQ(search.tried(), PortSearch::kTotal);
    EXPECT_FALSE(search.Next());
  }
}

TEST(PortSearch, BeginsNearWhereTheNodeWasSeen) {
  const std::vector<uint16_t> seen = {40'100, 50'000};
  PortSearch search(kHard, seen, 1);
  std::vector<uint16_t> first;
  for (int i = 0; i < 2 * (2 * PortSearch::kNear + 1); ++i) first.push_back(search.Next()->port);
  for (const int port : first) {
    EXPECT_TRUE(std::abs(port - 40'100) <= PortSearch::kNear ||
                std::abs(port - 50'000) <= PortSearch::kNear)
        << port;
  }
  // A block of 256 around it is done within 1,024 tries, wherever in the block it was seen.
  for (int port = 39'900; port < 40'156; ++port) {
    EXPECT_NE(std::ranges::find(first, port), first.end()) << port;
  }
}

TEST(PortSearch, WithoutAnyHintItGoesOverAllOfThemFromAnywhere) {
  PortSearch one(kHard, {}, 1);
  PortSearch other(kHard, {}, 2);
  EXPECT_NE(one.Next()->port, other.Next()->port);
  EXPECT_EQ(All(one).size(), PortSearch::kTotal - 1);
}

}  // namespace
}  // namespace omni
