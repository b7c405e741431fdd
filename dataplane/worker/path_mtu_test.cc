// SPDX-License-Identifier: Apache-2.0
// Packets that are larger than the path to their peer, from host to host in memory.
#include <gtest/gtest.h>

#include "dataplane/core/checksum.h"
#include "dataplane/core/test_packets.h"
#include "dataplane/core/transport_header.h"
#include "dataplane/worker/test_node.h"

namespace omni {
namespace {

using omni::testing::ChecksumsAreRight;
using omni::testing::ConnectedPair;
using omni::testing::kOther;
using omni::testing::MakePacket;
using omni::testing::MakePayload;
using omni::testing::PacketSpec;

constexpr uint32_t kWhole = 1220;
constexpr uint32_t kLimit = 1300;
const PacketSpec kV6 = {.source = "fd77::1", .destination = "fd77::2"};

class LargePackets : public ::testing::Test {
 protected:
  LargePackets() {
    pair_.wire.largest = kWhole + OMNI_DATA_OVERHEAD;
    SetMtu({.whole = kWhole, .limit = kLimit});
  }
  void SetMtu(const PathMtu& mtu) {
    pair_.a.worker->SetPathMtu(kOther, {.remote = pair_.endpoint_b}, mtu);
  }
  static std::vector<uint8_t> WithoutDf(std::vector<uint8_t> packet) {
    packet[6] = 0;
    StoreWord(&packet[10], 0);
    StoreWord(&packet[10], ChecksumFinish(ChecksumAdd(std::span(packet).first(20))));
    return packet;
  }
  void Send(const std::vector<uint8_t>& packet, const Offload& offload = {}) {
    pair_.a.tun->from_host.push_back({packet, offload});
    pair_.Settle();
  }
  void ExpectArrives(const std::vector<uint8_t>& packet) {
    const size_t before = pair_.b.tun->to_host.size();
    Send(packet);
    ASSERT_EQ(pair_.b.tun->to_host.size(), before + 1);
    EXPECT_EQ(pair_.b.tun->to_host.back(), packet);
    EXPECT_TRUE(pair_.a.tun->to_host.empty());
  }
  void ExpectTold(const std::vector<uint8_t>& packet, uint32_t mtu) {
    Send(packet);
    EXPECT_TRUE(pair_.b.tun->to_host.empty());
    ASSERT_EQ(pair_.a.tun->to_host.size(), 1U);
    const auto& message = pair_.a.tun->to_host[0];
    const size_t icmp = packet[0] >> 4 == 4 ? 20 : 40;
    EXPECT_EQ(LoadField<Be32>(&message[icmp + 4]), mtu);
    EXPECT_EQ(pair_.a.drops(DropReason::tx_too_big), 1U);
  }

  ConnectedPair pair_;
};

TEST_F(LargePackets, WhatFitsGoesWhole) {
  Send(MakePacket({}, MakePayload(kWhole - 28)));
  EXPECT_EQ(pair_.b.tun->to_host.size(), 1U);
  EXPECT_EQ(pair_.b.worker->drops().value(DropReason::rx_inner_malformed), 0U);
}

TEST_F(LargePackets, UpToTheLimitTheyGoInPiecesWhateverTheyAre) {
  ExpectArrives(MakePacket({}, MakePayload(kLimit - 28)));
  ExpectArrives(MakePacket(kV6, MakePayload(kLimit - 48)));
  ExpectArrives(MakePacket({.protocol = 6}, MakePayload(kLimit - 40)));
  ExpectArrives(MakePacket({.protocol = 132}, MakePayload(kLimit - 20)));
}

TEST_F(LargePackets, AboveTheLimitTheSenderIsTold) {
  ExpectTold(MakePacket({}, MakePayload(kLimit - 27)), kLimit);
}

TEST_F(LargePackets, AboveTheLimitTheSenderIsToldOverIpv6) {
  ExpectTold(MakePacket(kV6, MakePayload(kLimit - 47)), kLimit);
}

TEST_F(LargePackets, AnIpv6PacketUpToTheMinimumMtuAlwaysPasses) {
  SetMtu({.whole = 1000, .limit = 1000});
  pair_.wire.largest = 1000 + OMNI_DATA_OVERHEAD;
  ExpectArrives(MakePacket(kV6, MakePayload(1280 - 48)));
  pair_.b.tun->to_host.clear();
  ExpectTold(MakePacket(kV6, MakePayload(1281 - 48)), 1280);
}

TEST_F(LargePackets, WhatTheNetworkMayCutGoesInPieces) {
  ExpectArrives(WithoutDf(MakePacket({}, MakePayload(60'000))));
}

TEST_F(LargePackets, WhatMayNotBeAnsweredGoesInPieces) {
  const std::vector<RouteTable::Entry> routes = {{*IpPrefix::Parse("224.0.0.0/4"), kOther}};
  pair_.a.worker->SetRoutes(std::make_shared<RouteTable>(routes));
  ExpectArrives(MakePacket({.destination = "239.1.2.3"}, MakePayload(2000)));
}

TEST_F(LargePackets, ATcpSuperPacketIsCutSmallerAndItsSenderTold) {
  const auto payload = MakePayload(20'000);
  auto packet = MakePacket({.protocol = 6}, payload);
  Send(packet, {.kind = Offload::Kind::kTcp4,
                .needs_checksum = true,
                .segment_bytes = 1400,
                .checksum_start = 20,
                .checksum_offset = 16});
  std::vector<uint8_t> arrived;
  for (const auto& segment : pair_.b.tun->to_host) {
    EXPECT_LE(segment.size(), kWhole);
    EXPECT_TRUE(ChecksumsAreRight(segment));
    arrived.insert(arrived.end(), segment.begin() + 40, segment.end());
  }
  EXPECT_EQ(arrived, payload);
  EXPECT_EQ(pair_.a.tun->to_host.size(), 1U);
  EXPECT_EQ(pair_.a.drops(DropReason::tx_too_big), 0U);
}

TEST_F(LargePackets, AUdpSuperPacketOfTooLargeSegmentsIsToldOnceAndCountedWhole) {
  Send(MakePacket({}, MakePayload(14'000)), {.kind = Offload::Kind::kUdp,
                                             .needs_checksum = true,
                                             .segment_bytes = 1400,
                                             .checksum_start = 20,
                                             .checksum_offset = 6});
  EXPECT_EQ(pair_.a.tun->to_host.size(), 1U);
  EXPECT_EQ(pair_.a.drops(DropReason::tx_too_big), 10U);
}

TEST_F(LargePackets, AFloodOfThemIsToldAtALimitedRate) {
  for (int i = 0; i < 1000; ++i) {
    pair_.a.tun->from_host.push_back({MakePacket({}, MakePayload(1400)), {}});
  }
  pair_.Settle();
  EXPECT_GT(pair_.a.tun->to_host.size(), 0U);
  EXPECT_LE(pair_.a.tun->to_host.size(), 50U);
  EXPECT_EQ(pair_.a.drops(DropReason::tx_too_big), 1000U);
}

TEST_F(LargePackets, TheMssOfASynIsLoweredGoingOutAndComingIn) {
  const PacketSpec out = {.protocol = 6, .tcp_flags = 2, .tcp_options = {2, 4, 0x05, 0xb4}};
  PacketSpec in = out;
  std::swap(in.source, in.destination);
  pair_.a.tun->from_host = {{MakePacket(out, {}), {}}};
  pair_.b.tun->from_host = {{MakePacket(in, {}), {}}};
  pair_.Settle();
  for (const auto* tun : {pair_.a.tun, pair_.b.tun}) {
    ASSERT_EQ(tun->to_host.size(), 1U);
    EXPECT_EQ(LoadField<Be16>(&tun->to_host[0][42]), kLimit - 40);
    EXPECT_TRUE(ChecksumsAreRight(tun->to_host[0]));
  }
}

TEST_F(LargePackets, AnEchoOfAnySizeIsAnsweredAndAProbeBySize) {
  pair_.b.worker->SetPathMtu(kOther, {.remote = pair_.endpoint_a},
                             {.whole = kWhole, .limit = kLimit});
  pair_.a.worker->SendEcho(kOther, 1, 60'000);
  pair_.Settle();
  EXPECT_EQ(pair_.a.reports.echoes, (std::vector<uint64_t>{1}));
  pair_.a.worker->SendProbe(kOther, 2, kWhole + 1);
  pair_.Settle();
  EXPECT_EQ(pair_.a.reports.echoes.size(), 1U);  // did not pass
  pair_.a.worker->SendProbe(kOther, 3, kWhole);
  pair_.b.worker->RunOnce(pair_.now);
  EXPECT_EQ(pair_.wire.queues[pair_.endpoint_a].front().bytes.size(),
            OMNI_DATA_OVERHEAD + sizeof(omni_inner_echo));
  pair_.Settle();
  EXPECT_EQ(pair_.a.reports.echoes, (std::vector<uint64_t>{1, 3}));
}

TEST_F(LargePackets, OnANewWayNothingIsAssumedBeforeItIsKnown) {
  SetMtu({.whole = 1440, .limit = 1440});
  pair_.b.udp->MoveTo(*Endpoint::Parse("198.51.100.9:9"));
  pair_.b.tun->from_host = {
      {MakePacket({.source = "10.77.0.2", .destination = "10.77.0.1"}, {}), {}}};
  pair_.Settle();
  // What is known of the old way comes too late.
  SetMtu({.whole = 1440, .limit = 1440});
  pair_.a.tun->to_host.clear();
  ExpectArrives(MakePacket({}, MakePayload(1400)));
}

}  // namespace
}  // namespace omni
