// SPDX-License-Identifier: Apache-2.0
// Tries of other paths, and moves to them, between two hubs.
#include <gtest/gtest.h>

#include "dataplane/hub/test_hub.h"

namespace omni::testing {
namespace {

constexpr uint64_t kToken = 77;

class HubPathTest : public TestHub {
 protected:
  HubPathTest() { Connect(); }
  // b is at both addresses; what it receives at the other one says where it was sent to.
  void DeliverElsewhere(const Endpoint& elsewhere, const Endpoint& seen_from) {
    for (auto datagram : std::exchange(wire_.queues[elsewhere], {})) {
      datagram.from = seen_from;
      wire_.queues[endpoint_b_].push_back(datagram);
    }
    b_.worker->RunOnce(now_);
  }
  Endpoint PeerOf(HubNode& node) { return *node.hub.GetState(now_).peers.at(0).endpoint; }

  const Endpoint other_b_ = *Endpoint::Parse("198.51.100.2:2");  // another way to b
  const Endpoint other_a_ = *Endpoint::Parse("198.51.100.1:1");  // as b sees a on it
};

TEST_F(HubPathTest, ATryIsAnsweredOverItsPathAndMovesNobody) {
  SendFromA();
  ASSERT_TRUE(a_.hub.TryPath(Id(2), kToken, other_b_, now_).ok());
  a_.worker->RunOnce(now_);
  ASSERT_EQ(wire_.queues[other_b_].size(), 1U);
  EXPECT_TRUE(wire_.queues[endpoint_b_].empty());
  DeliverElsewhere(other_b_, other_a_);
  EXPECT_EQ(PeerOf(b_), endpoint_a_) << "b follows packets, not tries";
  EXPECT_TRUE(wire_.queues[endpoint_a_].empty());
  ASSERT_EQ(wire_.queues[other_a_].size(), 1U) << "the answer takes the same path";
  auto answer = wire_.queues[other_a_].front();
  answer.from = other_b_;
  wire_.queues[endpoint_a_].push_back(answer);
  (void)a_.Take<EchoReplyEvent>();
  now_ += 3ms;
  a_.worker->RunOnce(now_);
  const auto replies = a_.Take<EchoReplyEvent>();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].token, kToken);
  EXPECT_EQ(replies[0].rtt, 3ms);
  EXPECT_EQ(PeerOf(a_), endpoint_b_);
}

TEST_F(HubPathTest, AReplayedTryIsNotAnswered) {
  SendFromA();
  ASSERT_TRUE(a_.hub.TryPath(Id(2), kToken, other_b_, now_).ok());
  a_.worker->RunOnce(now_);
  const auto captured = wire_.queues[other_b_];
  DeliverElsewhere(other_b_, other_a_);
  const Endpoint attacker = *Endpoint::Parse("203.0.113.66:6");
  wire_.queues[other_b_] = captured;
  DeliverElsewhere(other_b_, attacker);
  EXPECT_TRUE(wire_.queues[attacker].empty());
}

TEST_F(HubPathTest, ThePeerFollowsAMove) {
  SendFromA();
  ASSERT_TRUE(a_.hub.MovePeer(Id(2), other_b_, now_).ok());
  a_.worker->RunOnce(now_);
  EXPECT_EQ(PeerOf(a_), other_b_);
  DeliverElsewhere(other_b_, other_a_);
  EXPECT_EQ(PeerOf(b_), other_a_);
}

TEST_F(HubPathTest, AMoveCanBeRepeatedAfterThePeerHasRoamed) {
  ASSERT_TRUE(a_.hub.MovePeer(Id(2), other_b_, now_).ok());
  SendFromB();  // from where it was
  EXPECT_EQ(PeerOf(a_), endpoint_b_);
  ASSERT_TRUE(a_.hub.MovePeer(Id(2), other_b_, now_).ok());
  EXPECT_EQ(PeerOf(a_), other_b_);
}

TEST_F(HubPathTest, TriesKeepNoTunnelAlive) {
  SendFromA();
  Advance(61s);
  EXPECT_EQ(a_.hub.TryPath(Id(2), kToken, other_b_, now_).code(),
            absl::StatusCode::kFailedPrecondition);
  SendFromA();
  EXPECT_TRUE(a_.hub.TryPath(Id(2), kToken, other_b_, now_).ok());
  // Nor do they count as traffic.
  const Instant end = now_ + 61s;
  while (now_ < end) {
    (void)a_.hub.TryPath(Id(2), kToken, endpoint_b_, now_);
    Advance(10s);
  }
  EXPECT_EQ(a_.hub.TryPath(Id(2), kToken, other_b_, now_).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(HubPathTest, NeedsAPeerWithASession) {
  EXPECT_EQ(a_.hub.TryPath(Id(9), kToken, other_b_, now_).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(a_.hub.MovePeer(Id(9), other_b_, now_).code(), absl::StatusCode::kNotFound);
  Advance(200s);
  EXPECT_EQ(a_.hub.MovePeer(Id(2), other_b_, now_).code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace omni::testing
