// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/too_big.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "dataplane/core/checksum.h"
#include "dataplane/core/test_packets.h"
#include "dataplane/core/transport_header.h"

namespace omni {
namespace {

using omni::testing::ChecksumsAreRight;
using omni::testing::MakePacket;
using omni::testing::MakePayload;
using omni::testing::NaiveChecksum;
using omni::testing::PacketSpec;

constexpr uint8_t kSyn = 0x02;

std::vector<uint8_t> Syn(const char* source, const char* destination,
                         std::vector<uint8_t> options) {
  return MakePacket({.source = source,
                     .destination = destination,
                     .protocol = kProtocolTcp,
                     .tcp_flags = kSyn,
                     .tcp_options = std::move(options)},
                    {});
}

std::vector<uint8_t> Clamped(std::vector<uint8_t> packet, uint32_t mtu) {
  ClampMss(packet, *ParseInner(packet), mtu);
  return packet;
}

TEST(ClampMss, LowersTheOfferToWhatFitsAndKeepsTheChecksum) {
  const auto v4 = Clamped(Syn("10.77.0.1", "10.77.0.2", {2, 4, 0x05, 0xb4}), 1420);
  EXPECT_EQ(LoadField<Be16>(&v4[20 + 20 + 2]), 1380);
  EXPECT_TRUE(ChecksumsAreRight(v4));
  const auto v6 = Clamped(Syn("fd77::1", "fd77::2", {2, 4, 0x05, 0xa0}), 1420);
  EXPECT_EQ(LoadField<Be16>(&v6[40 + 20 + 2]), 1360);
  EXPECT_TRUE(ChecksumsAreRight(v6));
}

TEST(ClampMss, FindsTheOptionAtAnOddPlaceToo) {
  const auto packet = Clamped(Syn("10.77.0.1", "10.77.0.2", {1, 2, 4, 0x05, 0xb4, 1, 1, 0}), 1300);
  EXPECT_EQ(LoadField<Be16>(&packet[20 + 20 + 3]), 1260);
  EXPECT_TRUE(ChecksumsAreRight(packet));
}

TEST(ClampMss, LeavesASmallerOfferAndEverythingElseAlone) {
  for (const auto& packet :
       {Syn("10.77.0.1", "10.77.0.2", {2, 4, 0x02, 0x18}), Syn("10.77.0.1", "10.77.0.2", {}),
        Syn("10.77.0.1", "10.77.0.2", {2, 3, 0x05, 1}),
        Syn("10.77.0.1", "10.77.0.2", {3, 40, 1, 1}), Syn("10.77.0.1", "10.77.0.2", {0, 2, 4, 5}),
        Syn("10.77.0.1", "10.77.0.2", {1, 1, 1, 2}),
        MakePacket({.protocol = kProtocolTcp, .tcp_options = {2, 4, 0x05, 0xb4}}, {}),
        MakePacket({}, MakePayload(40))}) {
    EXPECT_EQ(Clamped(packet, 1280), packet);
  }
}

TEST(ClampMss, ReadsNothingBeyondThePacketWhateverIsInIt) {
  std::mt19937 random(3);
  const auto good = Syn("fd77::1", "fd77::2", {1, 3, 3, 7, 2, 4, 0x05, 0xb4});
  for (int i = 0; i < 100'000; ++i) {
    auto packet = good;
    for (int n = 0; n < 4; ++n)
      packet[40 + random() % (packet.size() - 40)] = static_cast<uint8_t>(random());
    packet.resize(40 + random() % (packet.size() - 39));
    StoreField<Be16>(&packet[4], static_cast<uint16_t>(packet.size() - 40));
    const std::vector<uint8_t> exact(packet);  // of exactly this size, for the sanitizer
    if (ParseInner(exact)) Clamped(exact, 1280);
  }
}

TEST(TooBig, QuotesThePacketAndNamesTheSizeForIpv4) {
  const auto packet = MakePacket({}, MakePayload(1400));
  std::vector<uint8_t> out;
  WriteTooBig(packet, 1220, out);
  const auto inner = ParseInner(out);
  ASSERT_TRUE(inner);
  EXPECT_EQ(out.size(), 576U);
  EXPECT_EQ(inner->protocol, 1);
  EXPECT_EQ(inner->source.ToString(), "10.77.0.2");
  EXPECT_EQ(inner->destination.ToString(), "10.77.0.1");
  EXPECT_EQ(NaiveChecksum(std::span(out).first(20)), 0);
  EXPECT_EQ(NaiveChecksum(std::span(out).subspan(20)), 0);
  EXPECT_EQ(out[20], 3);
  EXPECT_EQ(out[21], 4);
  EXPECT_EQ(LoadField<Be16>(&out[26]), 1220);
  EXPECT_TRUE(std::equal(out.begin() + 28, out.end(), packet.begin()));
}

TEST(TooBig, QuotesThePacketAndNamesTheSizeForIpv6) {
  const auto packet =
      MakePacket({.source = "fd77::1", .destination = "fd77::2"}, MakePayload(1400));
  std::vector<uint8_t> out;
  WriteTooBig(packet, 1300, out);
  const auto inner = ParseInner(out);
  ASSERT_TRUE(inner);
  EXPECT_EQ(out.size(), 1280U);
  EXPECT_EQ(inner->protocol, 58);
  EXPECT_EQ(inner->source.ToString(), "fd77::2");
  EXPECT_EQ(out[40], 2);
  EXPECT_EQ(LoadField<Be32>(&out[44]), 1300U);
  const uint64_t pseudo =
      PseudoHeaderSum(InnerAddresses(out), 58, static_cast<uint32_t>(out.size() - 40));
  EXPECT_EQ(ChecksumFinish(ChecksumAdd(std::span(out).subspan(40), pseudo)), 0);
  EXPECT_TRUE(std::equal(out.begin() + 48, out.end(), packet.begin()));
}

bool Answered(const PacketSpec& spec, uint8_t first_byte = 0) {
  auto packet = MakePacket(spec, std::vector<uint8_t>(100, first_byte));
  return MayBeAnswered(packet, *ParseInner(packet));
}

TEST(TooBig, ErrorsGroupsAndLaterFragmentsAreNotAnswered) {
  EXPECT_TRUE(Answered({}));
  EXPECT_TRUE(Answered({.protocol = 1}, 8));   // echo request
  EXPECT_FALSE(Answered({.protocol = 1}, 3));  // unreachable
  EXPECT_FALSE(Answered({.destination = "239.1.2.3"}));
  EXPECT_FALSE(Answered({.destination = "255.255.255.255"}));
  EXPECT_FALSE(Answered({.source = "0.0.0.0"}));
  EXPECT_TRUE(Answered({.source = "fd77::1", .destination = "fd77::2"}));
  EXPECT_TRUE(Answered({.source = "fd77::1", .destination = "fd77::2", .protocol = 58}, 128));
  EXPECT_FALSE(Answered({.source = "fd77::1", .destination = "fd77::2", .protocol = 58}, 2));
  EXPECT_FALSE(Answered({.source = "fd77::1", .destination = "fd77::2", .protocol = 58}, 137));
  EXPECT_FALSE(Answered({.source = "fd77::1", .destination = "ff02::1"}));
  EXPECT_FALSE(Answered({.source = "::", .destination = "fd77::2"}));
  auto packet = MakePacket({}, MakePayload(100));
  packet[6] = 0x20;  // more fragments, the first one
  packet[7] = 0;
  EXPECT_TRUE(MayBeAnswered(packet, *ParseInner(packet)));
  packet[7] = 10;
  EXPECT_FALSE(MayBeAnswered(packet, *ParseInner(packet)));
}

}  // namespace
}  // namespace omni
