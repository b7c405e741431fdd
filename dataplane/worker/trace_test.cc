// SPDX-License-Identifier: Apache-2.0
// What a trace tells of packets on both sides of a tunnel, and that it tells nothing unasked.
#include <gtest/gtest.h>

#include "dataplane/core/packet_trace.h"
#include "dataplane/core/test_packets.h"
#include "dataplane/worker/test_node.h"

namespace omni {
namespace {

using omni::testing::ConnectedPair;
using omni::testing::kChannelToB;
using omni::testing::kOther;
using omni::testing::MakePacket;
using omni::testing::MakePayload;

class TraceTest : public ::testing::Test {
 protected:
  void BeginBoth(const PacketTrace::Filter& filter = {}) {
    pair_.a.worker->trace().Begin(filter);
    pair_.b.worker->trace().Begin(filter);
  }
  void SendFromA(const std::vector<uint8_t>& packet, const Offload& offload = {}) {
    pair_.a.tun->from_host.push_back({packet, offload});
    pair_.Settle();
  }
  std::vector<TracedPacket> TakeA() { return pair_.a.worker->trace().Take().packets; }
  std::vector<TracedPacket> TakeB() { return pair_.b.worker->trace().Take().packets; }

  ConnectedPair pair_;
};

TEST_F(TraceTest, TellsOfAPacketOnBothSides) {
  BeginBoth();
  SendFromA(MakePacket({}, MakePayload(100)));
  const auto sent = TakeA();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_TRUE(sent[0].outgoing);
  EXPECT_EQ(sent[0].verdict, "sent");
  EXPECT_EQ(sent[0].bytes, 128U);
  EXPECT_EQ(sent[0].peer, kOther);
  EXPECT_EQ(sent[0].way, Way::kSocket);
  const auto received = TakeB();
  ASSERT_EQ(received.size(), 1U);
  EXPECT_FALSE(received[0].outgoing);
  EXPECT_EQ(received[0].verdict, "delivered");
  EXPECT_EQ(received[0].channel_id, kChannelToB);
  EXPECT_EQ(received[0].counter, 0U);
  for (const TracedPacket& packet : {sent[0], received[0]}) {
    EXPECT_EQ(packet.at, pair_.now);
    EXPECT_EQ(packet.source.ToString(), "10.77.0.1");
    EXPECT_EQ(packet.destination.ToString(), "10.77.0.2");
    EXPECT_EQ(packet.protocol, 17);
    EXPECT_EQ(packet.source_port, 1000);
    EXPECT_EQ(packet.destination_port, 2000);
    EXPECT_EQ(packet.bytes, 128U);
    EXPECT_FALSE(packet.dropped);
  }
}

TEST_F(TraceTest, TellsNothingUnasked) {
  SendFromA(MakePacket({}, {}));
  EXPECT_TRUE(TakeA().empty());
  BeginBoth();
  pair_.a.worker->trace().End();
  SendFromA(MakePacket({}, {}));
  EXPECT_TRUE(TakeA().empty());
  EXPECT_EQ(TakeB().size(), 1U);
}

TEST_F(TraceTest, ADropIsThePacketsThatItHit) {
  BeginBoth({.drops_only = true});
  SendFromA(MakePacket({.destination = "10.99.0.1"}, {}));
  SendFromA(MakePacket({}, {}));
  SendFromA({0x45, 0});
  const auto drops = TakeA();
  ASSERT_EQ(drops.size(), 2U);
  EXPECT_EQ(drops[0].verdict, "tx_no_route");
  EXPECT_EQ(drops[0].destination.ToString(), "10.99.0.1");
  EXPECT_TRUE(drops[0].dropped);
  EXPECT_EQ(drops[1].verdict, "tx_inner_malformed");
  EXPECT_TRUE(TakeB().empty());
}

TEST_F(TraceTest, TellsOfForgeriesAndReplays) {
  pair_.a.tun->from_host.push_back({MakePacket({}, {}), {}});
  pair_.a.worker->RunOnce(pair_.now);
  const WireDatagram good = pair_.wire.queues[pair_.endpoint_b].front();
  WireDatagram forged = good;
  forged.bytes.back() ^= 1;
  WireDatagram stranger = good;
  stranger.bytes[7] ^= 1;
  WireDatagram shorter = good;
  shorter.bytes.resize(20);
  pair_.wire.queues[pair_.endpoint_b].clear();
  BeginBoth();
  for (const WireDatagram& datagram : {forged, good, good, stranger, shorter}) {
    pair_.wire.Put(datagram);
  }
  pair_.b.worker->RunOnce(pair_.now);
  std::vector<std::string> verdicts;
  for (const TracedPacket& packet : TakeB()) verdicts.emplace_back(packet.verdict);
  // What can be told from the header comes first: the batch is opened as a whole.
  EXPECT_EQ(verdicts, (std::vector<std::string>{"rx_unknown_channel", "rx_truncated", "rx_bad_tag",
                                                "delivered", "rx_replayed"}));
}

TEST_F(TraceTest, FiltersByPeerAndCountsWhatItCannotHold) {
  BeginBoth({.peer = 7});
  SendFromA(MakePacket({}, {}));
  EXPECT_TRUE(TakeA().empty());
  BeginBoth();
  for (size_t i = 0; i < PacketTrace::kRecords + 5; ++i) {
    pair_.a.tun->from_host.push_back({MakePacket({}, {}), {}});
  }
  pair_.Settle();
  const PacketTrace::Taken taken = pair_.a.worker->trace().Take();
  EXPECT_EQ(taken.packets.size(), PacketTrace::kRecords);
  EXPECT_EQ(taken.missed, 5U);
}

TEST_F(TraceTest, ASuperPacketIsToldOnce) {
  BeginBoth();
  const Offload offload{.kind = Offload::Kind::kTcp4,
                        .needs_checksum = true,
                        .segment_bytes = 1000,
                        .checksum_start = 20,
                        .checksum_offset = 16};
  SendFromA(MakePacket({.protocol = 6}, MakePayload(10'000)), offload);
  const auto sent = TakeA();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].packets, 10U);
  EXPECT_EQ(TakeB().size(), 10U);
}

TEST_F(TraceTest, WhatHasNoPortsShowsNone) {
  BeginBoth();
  SendFromA(MakePacket({.protocol = 1}, MakePayload(8)));
  const auto received = TakeB();
  ASSERT_EQ(received.size(), 1U);
  EXPECT_EQ(received[0].protocol, 1);
  EXPECT_EQ(received[0].source_port, 0) << "nor that of the datagram";
}

TEST_F(TraceTest, APacketWithoutASessionWaits) {
  pair_.a.worker->SetSession(kOther, nullptr);
  BeginBoth();
  SendFromA(MakePacket({}, {}));
  const auto sent = TakeA();
  ASSERT_EQ(sent.size(), 1U);
  EXPECT_EQ(sent[0].verdict, "waits for a session");
  EXPECT_FALSE(sent[0].dropped);
}

}  // namespace
}  // namespace omni
