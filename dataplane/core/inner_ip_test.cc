// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/inner_ip.h"

#include <gtest/gtest.h>

#include "dataplane/core/ecn.h"
#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

using omni::testing::ChecksumsAreRight;
using omni::testing::MakePacket;
using omni::testing::MakePayload;
using omni::testing::PacketSpec;

TEST(ParseInner, ReadsBothFamilies) {
  const auto v4 = ParseInner(MakePacket({.traffic_class = 0xb9}, MakePayload(10)));
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->source.ToString(), "10.77.0.1");
  EXPECT_EQ(v4->destination.ToString(), "10.77.0.2");
  EXPECT_EQ(v4->traffic_class, 0xb9);
  EXPECT_EQ(v4->protocol, kProtocolUdp);
  EXPECT_EQ(v4->transport_offset, 20);
  const auto v6 = ParseInner(MakePacket(
      {.source = "fd77::1", .destination = "fd77::2", .protocol = 6, .traffic_class = 0xb9}, {}));
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->source.ToString(), "fd77::1");
  EXPECT_EQ(v6->traffic_class, 0xb9);
  EXPECT_EQ(v6->protocol, kProtocolTcp);
  EXPECT_EQ(v6->transport_offset, 40);
}

TEST(ParseInner, RefusesEveryTruncationAndTrailingByte) {
  for (const PacketSpec& spec :
       {PacketSpec{}, PacketSpec{.source = "fd77::1", .destination = "fd77::2"}}) {
    auto packet = MakePacket(spec, MakePayload(20));
    for (size_t size = 0; size < packet.size(); ++size) {
      EXPECT_FALSE(ParseInner({packet.data(), size})) << size;
    }
    packet.push_back(0);
    EXPECT_FALSE(ParseInner(packet));
  }
}

TEST(ParseInner, RefusesOtherVersionsAndShortHeaders) {
  auto packet = MakePacket({}, MakePayload(20));
  for (int version = 0; version < 16; ++version) {
    packet[0] = static_cast<uint8_t>(version << 4 | 5);
    EXPECT_EQ(ParseInner(packet).has_value(), version == 4) << version;
  }
  packet[0] = 0x44;
  EXPECT_FALSE(ParseInner(packet));
}

// An IPv6 packet whose next header is `first`, followed by `rest`.
std::vector<uint8_t> WithExtensions(uint8_t first, std::span<const uint8_t> rest) {
  auto packet = MakePacket({.source = "fd77::1", .destination = "fd77::2", .protocol = 59}, rest);
  packet[6] = first;
  return packet;
}

TEST(ParseInner, WalksExtensionHeadersWithinTheirBounds) {
  std::vector<uint8_t> one = {17, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 8, 0, 0};
  const auto parsed = ParseInner(WithExtensions(0, one));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->protocol, kProtocolUdp);
  EXPECT_EQ(parsed->transport_offset, 48);
  one[1] = 200;  // longer than the packet
  EXPECT_FALSE(ParseInner(WithExtensions(0, one)));
  EXPECT_FALSE(ParseInner(WithExtensions(0, std::vector<uint8_t>{17, 0, 0})));
  std::vector<uint8_t> chain;
  for (int i = 0; i < 40; ++i) chain.insert(chain.end(), {60, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_FALSE(ParseInner(WithExtensions(60, chain)));
}

TEST(ParseInner, GivesAllFragmentsOfAFlowOneHash) {
  auto first = MakePacket({.source_port = 1}, MakePayload(32));
  auto later = MakePacket({.source_port = 2}, MakePayload(32));
  EXPECT_NE(ParseInner(first)->flow_hash, ParseInner(later)->flow_hash);
  first[6] = 0x20;  // more fragments
  later[7] = 0x04;  // an offset
  EXPECT_TRUE(ParseInner(first)->is_fragment);
  EXPECT_TRUE(ParseInner(later)->is_fragment);
  EXPECT_EQ(ParseInner(first)->flow_hash, ParseInner(later)->flow_hash);
}

TEST(ParseInner, DoesNotTakeAMappedAddressForIpv4) {
  auto packet = MakePacket({.source = "fd77::1", .destination = "fd77::2"}, {});
  const std::vector<uint8_t> mapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 77, 0, 1};
  std::copy(mapped.begin(), mapped.end(), packet.begin() + 8);
  EXPECT_FALSE(ParseInner(packet)->source.is_v4());
}

TEST(SetTrafficClass, KeepsTheChecksumRight) {
  for (int value = 0; value < 256; ++value) {
    for (const PacketSpec& spec :
         {PacketSpec{}, PacketSpec{.source = "fd77::1", .destination = "fd77::2"}}) {
      auto packet = MakePacket(spec, MakePayload(9));
      SetTrafficClass(packet, static_cast<uint8_t>(value));
      EXPECT_EQ(ParseInner(packet)->traffic_class, value);
      EXPECT_TRUE(ChecksumsAreRight(packet));
    }
  }
}

TEST(DecapsulateEcn, IsTheTableOfRfc6040) {
  // Rows: inner Not-ECT, ECT(0), ECT(1), CE. Columns: outer Not-ECT, ECT(0), ECT(1), CE. -1: drop.
  constexpr int kTable[4][4] = {{kNotEct, kNotEct, kNotEct, -1},
                                {kEct0, kEct0, kEct1, kCe},
                                {kEct1, kEct1, kEct1, kCe},
                                {kCe, kCe, kCe, kCe}};
  constexpr uint8_t kOrder[4] = {kNotEct, kEct0, kEct1, kCe};
  for (int inner = 0; inner < 4; ++inner) {
    for (int outer = 0; outer < 4; ++outer) {
      const uint8_t dscp = 0xb8;
      const auto got = DecapsulateEcn(dscp | kOrder[inner], kOrder[outer]);
      const int expected = kTable[inner][outer];
      EXPECT_EQ(got ? *got : -1, expected < 0 ? -1 : dscp | expected) << inner << outer;
    }
  }
}

}  // namespace
}  // namespace omni
