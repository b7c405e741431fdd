// SPDX-License-Identifier: Apache-2.0
// Two controllers that do not hear each other, and a third one between them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "controller/core/testing.h"

namespace omni {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class PeerRelayingTest : public ::testing::Test {
 protected:
  PeerRelayingTest() {
    for (TestNode* node : {&a_, &b_, &r_}) Place(*node);
    r_.config.relay.for_peers = true;
  }
  // On the same network as the others.
  void Place(TestNode& node) const {
    node.config.beacons = true;
    node.cluster = &keys_;
    node.dataplane.listen_port = 51900;
    node.interfaces = {node.endpoint.address};
    node.links = {{.index = 1,
                   .v4 = InterfaceAddress{.address = node.endpoint.address, .length = 24},
                   .v6 = {}}};
  }
  void Start(TestNode& node) {
    ASSERT_TRUE(node.StartController().ok());
    node.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([&] { return node.Connected(); }));
  }
  void Start() {
    for (TestNode* node : {&a_, &b_, &r_}) Start(*node);
    ASSERT_TRUE(RunUntil([&] {
      return std::ranges::all_of(std::initializer_list<TestNode*>{&a_, &b_, &r_},
                                 [](auto* node) { return node->controller->peers().size() == 2; });
    }));
    loop_.wire.Cut(a_.dataplane, b_.dataplane);
  }
  template <typename Condition>
  bool RunUntil(Condition condition) {
    return loop_.RunUntil([&] {
      loop_.now = Now() + ahead_;
      return condition();
    });
  }
  // a and b have a session, by way of r.
  bool AreRelayed() {
    const Peer& b = a_.PeerNamed("b");
    const Peer& a = b_.PeerNamed("a");
    return a_.StateOf("b") == PeerState::kUp && b_.StateOf("a") == PeerState::kUp &&
           a_.controller->RelayOf(b) == a_.controller->peers().Find("r") &&
           b_.controller->RelayOf(a) == b_.controller->peers().Find("r");
  }
  void Relay() {
    Start();
    ASSERT_TRUE(RunUntil([&] {
      return a_.StateOf("r") == PeerState::kUp && b_.StateOf("r") == PeerState::kUp;
    })) << "a session is kept with who is willing";
    a_.controller->Initiate(b_.identity.node_id());
    ASSERT_TRUE(RunUntil([&] { return AreRelayed(); }));
  }

  const ClusterKeys keys_ = *ClusterKeys::Derive("correct horse battery staple");
  TestLoop loop_;
  Duration ahead_{};
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
  TestNode r_{loop_, "r", 3};
};

TEST_F(PeerRelayingTest, ThoseWhoDoNotHearEachOtherMeetThroughWhoIsWilling) {
  Relay();
  const Peer& b = a_.PeerNamed("b");
  EXPECT_EQ(b.endpoint, r_.endpoint);
  EXPECT_TRUE(a_.controller->IsRelayed(b));
  EXPECT_EQ(a_.controller->PathOf(b), PathClass::kRelay);
  EXPECT_FALSE(a_.controller->IsRelayed(a_.PeerNamed("r"))) << "which is there itself";
  EXPECT_EQ(a_.controller->RelayOf(a_.PeerNamed("r")), nullptr);
  EXPECT_GE(r_.controller->relay_counters().handshakes, 2U);
  // Each has opened all channels that it receives on, before anything was sent there.
  for (const auto& [node, other] : {std::pair(&a_, &b_), std::pair(&b_, &a_)}) {
    for (const auto& [id, session] : node->dataplane.sessions) {
      if (session.peer_id() != other->identity.node_id().ToBytes()) continue;
      for (const auto& channel : session.receive()) {
        EXPECT_TRUE(std::ranges::any_of(r_.dataplane.opened, [&](const auto& opened) {
          const auto& channels = opened.channels();
          return opened.from() == other->identity.node_id().ToBytes() &&
                 opened.to() == node->identity.node_id().ToBytes() && opened.seconds() == 200 &&
                 std::ranges::find(channels, channel.id()) != channels.end();
        }));
      }
    }
  }
}

TEST_F(PeerRelayingTest, WhoIsNotWillingPassesNothingOnAndThatIsSaid) {
  r_.config.relay.for_peers = false;
  Start();
  for (TestNode* node : {&a_, &b_}) node->controller->Initiate(r_.identity.node_id());
  ASSERT_TRUE(RunUntil(
      [&] { return a_.StateOf("r") == PeerState::kUp && b_.StateOf("r") == PeerState::kUp; }));
  a_.controller->Initiate(b_.identity.node_id());
  ahead_ = 6s;
  ASSERT_TRUE(RunUntil([&] { return !a_.PeerNamed("b").last_error.empty(); }));
  EXPECT_THAT(a_.PeerNamed("b").last_error, HasSubstr("nothing relays"));
  EXPECT_THAT(r_.dataplane.opened, IsEmpty());
}

TEST_F(PeerRelayingTest, OneWhoIsRevokedThereIsNotRelayed) {
  Relay();
  const uint64_t before = r_.controller->relay_counters().handshakes;
  ASSERT_TRUE(r_.controller->Revoke("a", "stolen").ok());
  b_.controller->Initiate(a_.identity.node_id());
  a_.controller->Initiate(b_.identity.node_id());
  ahead_ = 1s;
  // The relay tells the other one, too.
  ASSERT_TRUE(RunUntil([&] {
    const Peer* revoked = b_.controller->peers().Find("a");
    return revoked == nullptr || revoked->revoked;
  }));
  // What is said to it goes nowhere, for as long as a handshake would take.
  a_.controller->Initiate(b_.identity.node_id());
  int looks = 0;
  ASSERT_TRUE(RunUntil([&] { return ++looks > 100; }));
  EXPECT_EQ(r_.controller->relay_counters().handshakes, before);
}

TEST_F(PeerRelayingTest, WhenTheRelayHasForgottenTheyShakeHandsAnew) {
  Relay();
  const uint64_t before = a_.PeerNamed("b").handshakes;
  r_.dataplane.Restart();
  ASSERT_TRUE(RunUntil([&] { return !r_.Connected(); }));
  r_.dataplane.Connect();
  ASSERT_TRUE(RunUntil([&] { return a_.PeerNamed("b").handshakes > before && AreRelayed(); }));
}

// There is a second relay, after the pair has met through the first one. Its id comes before that
// of the first one.
class TwoRelaysTest : public PeerRelayingTest {
 protected:
  void MeetAndAdd() {
    do {
      s_.reset();  // there is one at an address
      s_ = std::make_unique<TestNode>(loop_, "s", 4);
    } while (r_.identity.node_id() < s_->identity.node_id());
    Place(*s_);
    s_->config.relay.for_peers = true;
    Relay();
    Start(*s_);
    ASSERT_TRUE(RunUntil([&] {
      return a_.StateOf("s") == PeerState::kUp && b_.StateOf("s") == PeerState::kUp &&
             s_->StateOf("a") == PeerState::kUp && s_->StateOf("b") == PeerState::kUp;
    })) << "a second one is kept in reach";
    EXPECT_TRUE(AreRelayed()) << "and is no reason to leave the present one";
  }
  bool IsRelayedByTheSecond() {
    return a_.controller->RelayOf(a_.PeerNamed("b")) == a_.controller->peers().Find("s");
  }
  // To the first node the first relay is somewhere else now.
  void MoveTheFirst() {
    dataplane::v1::Event event;
    event.mutable_endpoint_changed()->set_peer_id(r_.identity.node_id().ToBytes());
    *event.mutable_endpoint_changed()->mutable_endpoint() = s_->dataplane.address;
    a_.dataplane.Emit(event);
  }
  std::unique_ptr<TestNode> s_;
};

TEST_F(TwoRelaysTest, EachHandshakeAsksTheOtherRelaysAsWell) {
  MeetAndAdd();
  const uint64_t before = a_.PeerNamed("b").handshakes;
  a_.controller->Initiate(b_.identity.node_id());
  ASSERT_TRUE(RunUntil([&] {
    return s_->controller->relay_counters().handshakes > 0 && a_.PeerNamed("b").handshakes > before;
  })) << "though the present one answers";
  // Where the present one is slower, or as here does not reach the peer, the other one is taken.
  loop_.wire.Cut(b_.dataplane, r_.dataplane);
  a_.controller->Initiate(b_.identity.node_id());
  EXPECT_TRUE(RunUntil([&] { return IsRelayedByTheSecond(); }));
}

TEST_F(TwoRelaysTest, OneThatIsNotWhereItSaysToBeIsNotAsked) {
  MeetAndAdd();
  // It would pass the question on, and the peer answer it, in vain.
  MoveTheFirst();
  EXPECT_TRUE(RunUntil([&] { return IsRelayedByTheSecond(); }));
}

TEST_F(TwoRelaysTest, OneThatGoesWhileASessionThroughItIsInstalledIsLeft) {
  MeetAndAdd();
  a_.dataplane.hold_install_answers = true;
  const size_t before = a_.dataplane.sessions.size();
  a_.controller->Initiate(b_.identity.node_id());
  ASSERT_TRUE(RunUntil([&] { return a_.dataplane.sessions.size() > before; }));
  const size_t tags = a_.controller->reserved_tags();
  MoveTheFirst();
  ASSERT_TRUE(RunUntil([&] { return a_.controller->reserved_tags() > tags; })) << "another call";
  a_.dataplane.hold_install_answers = false;
  a_.dataplane.AnswerInstalls();
  EXPECT_TRUE(RunUntil([&] { return IsRelayedByTheSecond(); }));
}

TEST_F(PeerRelayingTest, TheDataplaneGetsTheQuotasAndOthersTheWillingness) {
  Start();
  const auto& applied = r_.dataplane.applied;
  const auto full = std::ranges::find_if(applied, [](const auto& one) { return one.has_full(); });
  ASSERT_NE(full, applied.end());
  EXPECT_EQ(full->full().node().relay().pair_bytes_per_s(), 6'250'000U);
  EXPECT_EQ(full->full().node().relay().total_bytes_per_s(), 25'000'000U);
  EXPECT_TRUE(a_.controller->learned().at(r_.identity.node_id()).record.Can(kRelayCapability));
  EXPECT_FALSE(a_.controller->learned().at(b_.identity.node_id()).record.Can(kRelayCapability));
}

}  // namespace
}  // namespace omni
