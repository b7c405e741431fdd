// SPDX-License-Identifier: Apache-2.0
// What nodes send each other through their Nucleus, and what others would like to.
#include "common/wire.h"
#include "signal/record/codes.h"
#include "tests/sim/hostile_node.h"
#include "tests/sim/nucleus_sim.h"

namespace omni {
namespace {

constexpr uint64_t kChannel = 0x1122334455660004;

std::vector<uint8_t> Data(uint64_t channel, uint64_t counter, size_t size = 100) {
  std::vector<uint8_t> bytes(size, 0xab);
  for (size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(channel >> (8 * i));
    bytes[8 + i] = static_cast<uint8_t>(counter >> (8 * i));
  }
  return bytes;
}

std::vector<uint8_t> Initiation() {
  std::vector<uint8_t> bytes(sizeof(wire::Initiation), 7);
  bytes[0] = kHandshakeInitiation;
  return bytes;
}

class RelaySim : public NucleusSim {
 protected:
  RelaySim() {
    for (ClientNode* node : {&a_, &b_, &other_}) node->Start();
    EXPECT_TRUE(network_.RunUntil(
        [&] { return a_.registered() && b_.registered() && other_.registered(); }));
    network_.RunFor(1s);
  }
  // B lets A reach the channel.
  void Open(uint64_t channel = kChannel) {
    const uint64_t channels[] = {channel};
    b_.client->OpenRelay(a_.identity().node_id(), channels, kMaxOpenSeconds, network_.now());
    network_.RunFor(1s);
  }
  void SendFrom(const Endpoint& from, const std::vector<uint8_t>& bytes) {
    network_.Send(from, nucleus_.endpoints.front(), bytes);
    network_.RunFor(100ms);
  }
  uint64_t Count(Relay::Verdict verdict) const { return nucleus_.server->relay().count(verdict); }

  ClientNode& a_ = Add(1);
  ClientNode& b_ = Add(2);
  ClientNode& other_ = Add(3, 1);  // of another cluster
};

TEST_F(RelaySim, SessionDataReachesWhoOpenedTheChannelAsItIsAndOnce) {
  EXPECT_EQ(a_.relay, nucleus_.endpoints.front());
  Open();
  SendFrom(a_.at, Data(kChannel, 0));
  ASSERT_EQ(b_.data.size(), 1U);
  EXPECT_EQ(b_.data[0], Data(kChannel, 0));
  EXPECT_EQ(b_.data_from, nucleus_.endpoints.front());
  SendFrom(a_.at, Data(kChannel, 0));
  EXPECT_EQ(b_.data.size(), 1U);
  EXPECT_EQ(Count(Relay::Verdict::kReplayed), 1U);
  SendFrom(a_.at, Data(kChannel, 1, kSessionHeaderBytes));
  EXPECT_EQ(b_.data.size(), 2U);
}

TEST_F(RelaySim, StrangersAndOtherNodesAndOtherClustersAreNotRelayed) {
  Open();
  SendFrom(*Endpoint::Parse("203.0.113.9:9"), Data(kChannel, 0));
  EXPECT_EQ(nucleus_.server->counters().relay_strangers, 1U);
  SendFrom(other_.at, Data(kChannel, 0));
  SendFrom(b_.at, Data(kChannel, 0));
  EXPECT_EQ(Count(Relay::Verdict::kUnknown), 2U);
  SendFrom(a_.at, Data(kChannel + 0x100, 0));
  EXPECT_EQ(Count(Relay::Verdict::kUnknown), 3U);
  SendFrom(a_.at, Data(kChannel, 0, kSessionHeaderBytes - 1));
  EXPECT_EQ(Count(Relay::Verdict::kMalformed), 1U);
  EXPECT_TRUE(a_.data.empty() && b_.data.empty() && other_.data.empty());
}

TEST_F(RelaySim, ASenderThatIsNotConnectedIsAStranger) {
  Open();
  a_.client->Shutdown(network_.now());
  network_.RunFor(1s);
  SendFrom(a_.at, Data(kChannel, 0));
  EXPECT_EQ(nucleus_.server->counters().relay_strangers, 1U);
  EXPECT_TRUE(b_.data.empty());
}

TEST_F(RelaySim, WhatAReceiverOpenedEndsWithItsConnectionAndWithTime) {
  Open();
  SendFrom(a_.at, Data(kChannel, 0));
  network_.RunFor(201s);
  SendFrom(a_.at, Data(kChannel, 1));
  EXPECT_EQ(b_.data.size(), 1U);
  Open();
  SendFrom(a_.at, Data(kChannel, 2));
  EXPECT_EQ(b_.data.size(), 2U);
  b_.client->Shutdown(network_.now());
  network_.RunFor(1s);
  EXPECT_EQ(nucleus_.server->relay().channels(), 0U);
  SendFrom(a_.at, Data(kChannel, 3));
  EXPECT_EQ(b_.data.size(), 2U);
}

TEST_F(RelaySim, ANodeThatMovedIsFoundWhereItsConnectionIs) {
  Open();
  network_.Detach(a_.at);
  const Endpoint former = a_.at;
  a_.at = *Endpoint::Parse("203.0.113.77:7000");
  network_.Attach(a_.at, &a_);
  a_.Change([](auto& self) { self.name = "moved"; });  // a packet from there
  network_.RunFor(5s);
  SendFrom(a_.at, Data(kChannel, 0));
  EXPECT_EQ(b_.data.size(), 1U);
  SendFrom(former, Data(kChannel, 1));
  EXPECT_EQ(b_.data.size(), 1U);
}

TEST_F(RelaySim, HandshakesGoToTheNodeAndSayWhoseTheyAre) {
  a_.client->SendHandshake(b_.identity().node_id(), Initiation(), network_.now());
  network_.RunFor(1s);
  ASSERT_EQ(b_.handshakes.size(), 1U);
  EXPECT_EQ(b_.handshakes[0].first, a_.identity().node_id());
  EXPECT_EQ(b_.handshakes[0].second, Initiation());
  // A node of another cluster is nobody.
  a_.client->SendHandshake(other_.identity().node_id(), Initiation(), network_.now());
  network_.RunFor(1s);
  EXPECT_TRUE(other_.handshakes.empty());
  EXPECT_EQ(nucleus_.server->counters().relay_absent, 1U);
}

TEST_F(RelaySim, AHostileNodeIsSlowedAndCutOff) {
  HostileNode flood(network_, nucleus_, "203.0.113.1:1");
  flood.RegisterWell();
  pb::NodeMessage message;
  message.mutable_send_handshake()->set_peer(b_.identity().node_id().ToBytes());
  const auto bytes = Initiation();
  message.mutable_send_handshake()->set_datagram(std::string(bytes.begin(), bytes.end()));
  flood.SendMany(message, 500);
  EXPECT_LE(b_.handshakes.size(), 115U);
  EXPECT_GT(nucleus_.server->counters().relay_too_fast, 300U);
  message.mutable_send_handshake()->set_datagram("x");
  flood.Send(message);
  EXPECT_EQ(flood.code(), kCloseViolation);
  for (const uint32_t seconds : {0U, 201U}) {
    HostileNode odd(network_, nucleus_, "203.0.113.2:" + std::to_string(2 + seconds));
    odd.RegisterWell();
    pb::NodeMessage open;
    open.mutable_open_relay()->set_peer(b_.identity().node_id().ToBytes());
    open.mutable_open_relay()->add_channels(kChannel);
    open.mutable_open_relay()->set_seconds(seconds);
    odd.Send(open);
    EXPECT_EQ(odd.code(), kCloseViolation);
  }
  HostileNode many(network_, nucleus_, "203.0.113.4:4");
  many.RegisterWell();
  pb::NodeMessage open;
  open.mutable_open_relay()->set_peer(b_.identity().node_id().ToBytes());
  open.mutable_open_relay()->set_seconds(200);
  for (uint64_t i = 0; i < 65; ++i) open.mutable_open_relay()->add_channels(i);
  many.Send(open);
  EXPECT_EQ(many.code(), kCloseViolation);
}

TEST_F(RelaySim, AChannelOfAnotherCannotBeTakenOver) {
  Open();
  HostileNode thief(network_, nucleus_, "203.0.113.1:1");
  thief.RegisterWell();
  pb::NodeMessage open;
  open.mutable_open_relay()->set_peer(a_.identity().node_id().ToBytes());
  open.mutable_open_relay()->add_channels(kChannel);
  open.mutable_open_relay()->set_seconds(200);
  thief.Send(open);
  SendFrom(a_.at, Data(kChannel, 0));
  EXPECT_EQ(b_.data.size(), 1U);
}

TEST(RelayOff, ANucleusThatDoesNotRelaySaysSoAndDoesNot) {
  TestNetwork network;
  NucleusNode nucleus(network, {0}, {"192.0.2.1:51900"});
  nucleus.Kill();
  nucleus.relay.pair_bytes_per_s = 0;
  nucleus.Start();
  ClientNode a(network, nucleus, 1);
  a.Start();
  ASSERT_TRUE(network.RunUntil([&] { return a.registered(); }));
  EXPECT_FALSE(a.relay.is_set());
  HostileNode b(network, nucleus, "203.0.113.1:1");
  b.RegisterWell();
  pb::NodeMessage open;
  open.mutable_open_relay()->set_peer(a.identity().node_id().ToBytes());
  open.mutable_open_relay()->add_channels(kChannel);
  open.mutable_open_relay()->set_seconds(200);
  b.Send(open);
  EXPECT_EQ(nucleus.server->relay().channels(), 0U);
}

}  // namespace
}  // namespace omni
