// SPDX-License-Identifier: Apache-2.0
// What is said to a node that relays, and what is not taken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/relay/relay.h"
#include "common/wire.h"
#include "controller/mesh/testing.h"
#include "signal/record/codes.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<uint8_t> Initiation(uint8_t fill = 7) {
  std::vector<uint8_t> bytes(sizeof(wire::Initiation), fill);
  bytes[0] = kHandshakeInitiation;
  return bytes;
}

// a_ and b_ have sessions with r_.
class SignalingRelayTest : public ::testing::Test {
 protected:
  SignalingRelayTest() {
    for (MeshNode* node : {&a_, &b_}) {
      node->sessions[r_.id()] = r_.at;
      r_.sessions[node->id()] = node->at;
    }
  }
  quic::TestNetwork network_;
  MeshNode a_{network_, 1};
  MeshNode b_{network_, 2};
  MeshNode r_{network_, 3};
};

TEST_F(SignalingRelayTest, AHandshakeGoesThroughAndItsChannelsAreOpenBefore) {
  const uint64_t channels[] = {4, 0x10004};
  a_.signaling->OpenRelay({r_.id(), b_.id()}, channels, 200, network_.now());
  a_.signaling->SendHandshake({r_.id(), b_.id()}, Initiation(), network_.now());
  ASSERT_TRUE(network_.RunUntil([&] {
    EXPECT_TRUE(b_.handshakes.empty() || !r_.opened.empty());
    return !b_.handshakes.empty();
  }));
  EXPECT_EQ(b_.handshakes[0].via, r_.id());
  EXPECT_EQ(b_.handshakes[0].from, a_.id());
  EXPECT_EQ(b_.handshakes[0].datagram, Initiation());
  ASSERT_THAT(r_.opened, SizeIs(1));
  EXPECT_EQ(r_.opened[0].from, b_.id());
  EXPECT_EQ(r_.opened[0].to, a_.id());
  EXPECT_THAT(r_.opened[0].channels, ElementsAre(4, 0x10004));
  // And back, over the connections that there are.
  b_.signaling->SendHandshake({r_.id(), a_.id()}, Initiation(8), network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return !a_.handshakes.empty(); }));
  EXPECT_EQ(r_.signaling->view(network_.now()).handshakes, 2U);
}

TEST_F(SignalingRelayTest, WhoHasForgottenSaysSo) {
  r_.signaling->TellRelayClosed(a_.id(), network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return !a_.closed.empty(); }));
  EXPECT_THAT(a_.closed, ElementsAre(r_.id()));
}

TEST_F(SignalingRelayTest, WithoutASessionNothingIsSaid) {
  a_.sessions.clear();
  a_.signaling->SendHandshake({r_.id(), b_.id()}, Initiation(), network_.now());
  network_.RunFor(5s);
  EXPECT_EQ(r_.datagrams, 0U);
}

TEST_F(SignalingRelayTest, WhatIsMalformedEndsTheConnection) {
  pb::PeerMessage open;
  open.mutable_open_relay()->set_peer(b_.id().ToBytes());
  open.mutable_open_relay()->add_channels(4);
  open.mutable_open_relay()->set_seconds(200);
  pb::PeerMessage pass;
  pass.mutable_send_handshake()->set_peer(b_.id().ToBytes());
  pass.mutable_send_handshake()->set_datagram(AsString(Initiation()));
  pb::PeerMessage passed;
  passed.mutable_handshake()->set_peer(b_.id().ToBytes());
  passed.mutable_handshake()->set_datagram(AsString(Initiation()));
  std::vector<pb::PeerMessage> bad;
  const auto add = [&](pb::PeerMessage message, const auto& edit) {
    edit(message);
    bad.push_back(std::move(message));
  };
  add(open, [](auto& m) { m.mutable_open_relay()->set_peer("x"); });
  add(open, [&](auto& m) { m.mutable_open_relay()->set_peer(r_.id().ToBytes()); });
  add(open, [&](auto& m) { m.mutable_open_relay()->set_peer(a_.id().ToBytes()); });
  add(open, [](auto& m) { m.mutable_open_relay()->clear_channels(); });
  add(open, [](auto& m) { m.mutable_open_relay()->mutable_channels()->Resize(65, 4); });
  add(open, [](auto& m) { m.mutable_open_relay()->set_seconds(0); });
  add(open, [](auto& m) { m.mutable_open_relay()->set_seconds(201); });
  add(pass, [](auto& m) { m.mutable_send_handshake()->clear_peer(); });
  add(pass, [](auto& m) { m.mutable_send_handshake()->clear_datagram(); });
  add(pass, [](auto& m) { m.mutable_send_handshake()->mutable_datagram()->push_back('x'); });
  add(pass, [](auto& m) { (*m.mutable_send_handshake()->mutable_datagram())[0] = 4; });
  add(passed, [](auto& m) { m.mutable_handshake()->mutable_datagram()->pop_back(); });
  add(passed, [&](auto& m) { m.mutable_handshake()->set_peer(r_.id().ToBytes()); });
  for (const pb::PeerMessage& message : bad) {
    RawMember member(network_, a_, "203.0.113.9:51900");
    member.Connect(r_);
    ASSERT_TRUE(network_.RunUntil([&] { return member.connected; }));
    member.Hello(a_.own, a_.id());
    member.Say(message.SerializeAsString());
    EXPECT_TRUE(network_.RunUntil([&] { return member.closed.has_value(); }))
        << message.ShortDebugString();
    EXPECT_EQ(member.closed->code, kCloseViolation);
  }
  EXPECT_THAT(r_.opened, IsEmpty());
  EXPECT_THAT(b_.handshakes, IsEmpty());
}

TEST_F(SignalingRelayTest, OneWhoAsksForMoreThanItMayIsNotHeard) {
  RawMember member(network_, a_, "203.0.113.9:51900");
  member.Connect(r_);
  ASSERT_TRUE(network_.RunUntil([&] { return member.connected; }));
  member.Hello(a_.own, a_.id());
  pb::PeerMessage pass;
  pass.mutable_send_handshake()->set_peer(b_.id().ToBytes());
  pass.mutable_send_handshake()->set_datagram(AsString(Initiation()));
  for (int i = 0; i < 1000; ++i) {
    member.Say(pass.SerializeAsString());
    network_.RunFor(10ms);
  }
  EXPECT_LE(b_.handshakes.size(), 100U + 10 * 10 + 1);
  EXPECT_GE(b_.handshakes.size(), 100U);
}

}  // namespace
}  // namespace omni
