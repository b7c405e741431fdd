// SPDX-License-Identifier: Apache-2.0
#include "signal/stun/mapping.h"

#include <gtest/gtest.h>

#include <vector>

namespace omni::stun {
namespace {

Endpoint At(std::string_view text) { return Endpoint::Parse(text).value(); }

const Endpoint kA1 = At("198.51.100.1:3478");
const Endpoint kA2 = At("198.51.100.1:3479");
const Endpoint kB1 = At("198.51.100.2:3478");
const Endpoint kX = At("203.0.113.7:51900");
const Endpoint kY = At("203.0.113.7:61000");
const Endpoint kZ = At("203.0.113.8:51900");
const std::vector<Endpoint> kOwn = {At("10.0.0.2:51900"), At("192.168.1.2:51900")};

Mapping Of(const std::vector<Observation>& observations) { return Classify(observations, kOwn); }

TEST(StunMapping, NeedsTwoServers) {
  EXPECT_EQ(Of({}), Mapping::kUnknown);
  EXPECT_EQ(Of({{kA1, kX}}), Mapping::kUnknown);
  EXPECT_EQ(Of({{kA1, kX}, {kA1, kX}}), Mapping::kUnknown);
}

TEST(StunMapping, SeesThatThereIsNoNat) {
  EXPECT_EQ(Of({{kA1, kOwn[1]}}), Mapping::kNone);
  EXPECT_EQ(Of({{kA1, kOwn[1]}, {kA2, kOwn[1]}}), Mapping::kNone);
}

TEST(StunMapping, TellsTheKindsApart) {
  EXPECT_EQ(Of({{kA1, kX}, {kA2, kX}}), Mapping::kPortIndependent);
  EXPECT_EQ(Of({{kA1, kX}, {kB1, kX}}), Mapping::kEndpointIndependent);
  EXPECT_EQ(Of({{kA1, kX}, {kA2, kX}, {kB1, kX}}), Mapping::kEndpointIndependent);
  EXPECT_EQ(Of({{kA1, kX}, {kA2, kY}}), Mapping::kAddressAndPortDependent);
  EXPECT_EQ(Of({{kA1, kX}, {kB1, kY}}), Mapping::kAddressDependent);
  EXPECT_EQ(Of({{kA1, kX}, {kA2, kX}, {kB1, kY}}), Mapping::kAddressDependent);
  EXPECT_EQ(Of({{kB1, kX}, {kA1, kX}, {kA2, kY}}), Mapping::kAddressAndPortDependent);
}

TEST(StunMapping, APoolOfOuterAddressesIsDependent) {
  EXPECT_EQ(Of({{kA1, kX}, {kB1, kZ}}), Mapping::kAddressDependent);
}

// Two uplinks: the kernel chose another one for the second server.
TEST(StunMapping, OneServerBehindNoNatIsNotEnough) {
  EXPECT_EQ(Of({{kA1, kOwn[0]}, {kB1, kX}}), Mapping::kAddressDependent);
}

TEST(StunMapping, OnlySameMappingsCanBePredicted) {
  EXPECT_TRUE(IsPredictable(Mapping::kNone));
  EXPECT_TRUE(IsPredictable(Mapping::kPortIndependent));
  EXPECT_TRUE(IsPredictable(Mapping::kEndpointIndependent));
  EXPECT_FALSE(IsPredictable(Mapping::kUnknown));
  EXPECT_FALSE(IsPredictable(Mapping::kAddressDependent));
  EXPECT_FALSE(IsPredictable(Mapping::kAddressAndPortDependent));
}

}  // namespace
}  // namespace omni::stun
