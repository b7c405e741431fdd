// SPDX-License-Identifier: Apache-2.0
// Handshakes with peers that something passes messages on to.
#include <gtest/gtest.h>

#include "controller/noise/engine.h"
#include "controller/noise/test_node.h"

namespace omni::noise {
namespace {

class EngineRelayTest : public ::testing::Test {
 protected:
  EngineRelayTest() {
    EXPECT_TRUE(a_.Know(b_).ok());
    EXPECT_TRUE(b_.Know(a_).ok());
    a_.engine.SetRelay(b_.id, relay_);
    b_.engine.SetRelay(a_.id, relay_);
  }
  // The peer's answer to the only datagram of `out`, by the relay.
  Output Answer(TestNode& peer, const Output& out, Instant now) {
    return peer.engine.OnDatagram(out.datagrams.at(0).bytes, relay_, now);
  }

  TestNode a_{1};
  TestNode b_{2};
  const Endpoint relay_ = *Endpoint::Parse("198.51.100.1:51900");
};

TEST_F(EngineRelayTest, TheDirectWaysHaveAQuarterOfASecondForThemselves) {
  const auto first = a_.engine.Initiate(b_.id, kStart);
  ASSERT_EQ(first.datagrams.size(), 1U);
  EXPECT_EQ(first.datagrams[0].to, b_.endpoint);
  EXPECT_EQ(a_.engine.NextDeadline(), kStart + 250ms);
  EXPECT_TRUE(a_.engine.OnTimer(kStart + 249ms).datagrams.empty());
  const auto second = a_.engine.OnTimer(kStart + 250ms);
  ASSERT_EQ(second.datagrams.size(), 1U);
  EXPECT_EQ(second.datagrams[0].to, relay_);
  EXPECT_EQ(second.datagrams[0].peer, b_.id);
  EXPECT_EQ(second.datagrams[0].bytes, first.datagrams[0].bytes);  // the peer takes one of them
  // Then the next try, in its time, again both ways.
  EXPECT_GE(*a_.engine.NextDeadline(), kStart + 5s);
  const Instant next = *a_.engine.NextDeadline();
  const auto third = a_.engine.OnTimer(next);
  ASSERT_EQ(third.datagrams.size(), 1U);
  EXPECT_EQ(third.datagrams[0].to, b_.endpoint);
  EXPECT_NE(third.datagrams[0].bytes, first.datagrams[0].bytes);
  EXPECT_EQ(a_.engine.OnTimer(next + 250ms).datagrams.at(0).to, relay_);
}

TEST_F(EngineRelayTest, WithoutADirectWayTheRelayIsUsedAtOnce) {
  a_.engine.SetEndpoint(b_.id, {});
  EXPECT_TRUE(a_.engine.CanCall(b_.id));
  const auto out = a_.engine.Initiate(b_.id, kStart);
  ASSERT_EQ(out.datagrams.size(), 1U);
  EXPECT_EQ(out.datagrams[0].to, relay_);
  a_.engine.SetRelay(b_.id, {});
  EXPECT_FALSE(a_.engine.CanCall(b_.id));
}

TEST_F(EngineRelayTest, ARelayThatComesLaterIsUsedForWhatWasWanted) {
  a_.engine.SetEndpoint(b_.id, {});
  a_.engine.SetRelay(b_.id, {});
  EXPECT_TRUE(a_.engine.Initiate(b_.id, kStart).datagrams.empty());
  a_.engine.SetRelay(b_.id, relay_);
  EXPECT_EQ(a_.engine.OnTimer(kStart + 1s).datagrams.at(0).to, relay_);
}

TEST_F(EngineRelayTest, ACallThatWasWantedIsRepeatedThoughAPunchBeganIt) {
  a_.engine.SetRelay(b_.id, {});
  a_.engine.SetEndpoint(b_.id, {});
  EXPECT_TRUE(a_.engine.Initiate(b_.id, kStart).datagrams.empty());
  a_.engine.SetEndpoint(b_.id, b_.endpoint);
  ASSERT_EQ(a_.engine.Punch(b_.id, kStart).datagrams.size(), 1U);
  // The peer's own call, whose answer does not reach it.
  const auto call = b_.engine.Initiate(a_.id, kStart + 1s);
  ASSERT_EQ(
      a_.engine.OnDatagram(call.datagrams.at(0).bytes, b_.endpoint, kStart + 1s).sessions.size(),
      1U);
  ASSERT_NE(a_.engine.NextDeadline(), std::nullopt);
  EXPECT_EQ(a_.engine.OnTimer(kStart + 6s).datagrams.size(), 1U);
}

TEST_F(EngineRelayTest, ARelayThatComesLaterIsUsedForTheTryUnderWay) {
  a_.engine.SetRelay(b_.id, {});
  const auto first = a_.engine.Initiate(b_.id, kStart);
  ASSERT_EQ(first.datagrams.size(), 1U);
  a_.engine.SetRelay(b_.id, relay_);
  EXPECT_TRUE(a_.engine.OnTimer(kStart + 249ms).datagrams.empty()) << "the direct ways come first";
  const auto again = a_.engine.OnTimer(kStart + 250ms);
  ASSERT_EQ(again.datagrams.size(), 1U);
  EXPECT_EQ(again.datagrams[0].to, relay_);
  EXPECT_EQ(again.datagrams[0].bytes, first.datagrams[0].bytes) << "the same message";
  a_.engine.SetRelay(b_.id, relay_);
  EXPECT_TRUE(a_.engine.OnTimer(kStart + 1s).datagrams.empty()) << "once";
}

TEST_F(EngineRelayTest, AnInitiationNamesTheChannelsThatItsAnswerIsUsedOn) {
  a_.engine.SetEndpoint(b_.id, {});
  const auto first = a_.engine.Initiate(b_.id, kStart);
  const uint64_t tag = first.datagrams.at(0).tag;
  ASSERT_NE(tag, 0U);
  const auto second = Answer(b_, first, kStart);
  EXPECT_EQ(second.datagrams.at(0).tag, 0U) << "an answer";
  const auto third = Answer(a_, second, kStart);
  ASSERT_EQ(third.sessions.size(), 1U);
  const std::vector<uint64_t> channels = HandshakeEngine::ChannelsOf(tag);
  EXPECT_EQ(channels.size(), 17U);
  for (const SessionChannel& channel : third.sessions[0].receive) {
    EXPECT_NE(std::find(channels.begin(), channels.end(), channel.id), channels.end());
  }
}

TEST_F(EngineRelayTest, ARelayedSessionIsOneWhoseEndpointIsTheRelay) {
  a_.engine.SetEndpoint(b_.id, {});
  const auto first = a_.engine.Initiate(b_.id, kStart);
  const auto second = Answer(b_, first, kStart);
  ASSERT_EQ(second.sessions.size(), 1U);
  EXPECT_EQ(second.sessions[0].endpoint, relay_);
  EXPECT_EQ(second.datagrams.at(0).to, relay_);
  EXPECT_EQ(second.datagrams.at(0).peer, a_.id);
  const auto third = Answer(a_, second, kStart + 300ms);
  ASSERT_EQ(third.sessions.size(), 1U);
  EXPECT_EQ(third.sessions[0].endpoint, relay_);
  EXPECT_EQ(third.sessions[0].rtt, std::nullopt);
  // The next handshake tries what is direct first.
  a_.engine.SetCandidates(b_.id, {b_.endpoint, relay_});
  const auto again = a_.engine.Initiate(b_.id, kStart + 120s);
  ASSERT_EQ(again.datagrams.size(), 1U);
  EXPECT_EQ(again.datagrams[0].to, b_.endpoint);
}

TEST_F(EngineRelayTest, ADirectAnswerInTimeLeavesTheRelayAlone) {
  const auto first = a_.engine.Initiate(b_.id, kStart);
  const auto second = b_.engine.OnDatagram(first.datagrams[0].bytes, a_.endpoint, kStart);
  const auto third = a_.engine.OnDatagram(second.datagrams[0].bytes, b_.endpoint, kStart + 20ms);
  EXPECT_EQ(third.sessions.size(), 1U);
  EXPECT_EQ(a_.engine.NextDeadline(), std::nullopt);
  EXPECT_TRUE(a_.engine.OnTimer(kStart + 1s).datagrams.empty());
}

}  // namespace
}  // namespace omni::noise
