// SPDX-License-Identifier: Apache-2.0
// The node taken down and up again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "controller/core/testing.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;

class NodeStateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    a_.AddToConfig(b_.Spec());
    b_.AddToConfig(a_.Spec());
    for (TestNode* node : {&a_, &b_}) Start(*node);
    Call(a_, b_);
    ASSERT_TRUE(loop_.RunUntil(
        [&] { return a_.StateOf("b") == PeerState::kUp && b_.StateOf("a") == PeerState::kUp; }));
    loop_.Drain();
  }
  void Start(TestNode& node) {
    ASSERT_TRUE(node.StartController().ok());
    node.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([&] { return node.Connected(); }));
  }
  void Call(TestNode& from, const TestNode& to) {
    dp::Event event;
    event.mutable_handshake_wanted()->set_peer_id(to.identity.node_id().ToBytes());
    from.dataplane.Emit(event);
  }
  void Set(NodeState state) {
    ASSERT_TRUE(a_.controller->SetNodeState(state).ok());
    ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
    loop_.Drain();
  }
  // What the dataplane was told last of the node.
  const dp::Node& Told() const {
    const auto& applied = a_.dataplane.applied;
    const auto last = std::find_if(applied.rbegin(), applied.rend(),
                                   [](const auto& request) { return request.has_full(); });
    return last->full().node();
  }
  static bool HasSent(const TestNode& node, const std::string& what) {
    const auto& journal = node.dataplane.journal;
    return std::ranges::find(journal, what) != journal.end();
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
};

TEST_F(NodeStateTest, DownTheDataplaneHasNoPeerNoSessionNoAddress) {
  EXPECT_FALSE(Told().down());
  Set(NodeState::kDown);
  EXPECT_TRUE(Told().down());
  EXPECT_EQ(Told().addresses_size(), 0);
  EXPECT_EQ(Told().mac1_key().size(), 32U);
  EXPECT_EQ(a_.dataplane.state.peers_size(), 0);
  EXPECT_TRUE(a_.dataplane.sessions.empty());
  EXPECT_EQ(a_.StateOf("b"), PeerState::kIdle);
  EXPECT_EQ(a_.controller->peers().size(), 1U) << "what is known stays known";
  EXPECT_EQ(a_.controller->reserved_tags(), 0U);
}

TEST_F(NodeStateTest, DownNobodyIsAnsweredAndNobodyIsCalled) {
  Set(NodeState::kDown);
  a_.dataplane.journal.clear();
  loop_.now += 10s;
  Call(b_, a_);
  ASSERT_TRUE(loop_.RunUntil([&] { return HasSent(b_, "send 5"); }));
  loop_.Drain();
  a_.controller->Initiate(b_.identity.node_id());
  Call(a_, b_);  // an event that was under way
  loop_.Drain();
  EXPECT_FALSE(HasSent(a_, "send 6"));
  EXPECT_FALSE(HasSent(a_, "send 5"));
  EXPECT_TRUE(a_.dataplane.sessions.empty());
}

TEST_F(NodeStateTest, AHandshakeUnderWayEndsWithIt) {
  Set(NodeState::kDown);
  Set(NodeState::kUp);
  b_.dataplane.Disconnect();  // nobody answers
  Call(a_, b_);
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kConnecting; }));
  Set(NodeState::kDown);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kIdle);
  a_.dataplane.journal.clear();
  loop_.now += 30s;
  Set(NodeState::kUp);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kIdle) << "what was wanted before is not wanted now";
  EXPECT_FALSE(HasSent(a_, "send 5"));
}

TEST_F(NodeStateTest, UpAgainEverythingIsAsBefore) {
  Set(NodeState::kDown);
  Set(NodeState::kUp);
  EXPECT_FALSE(Told().down());
  EXPECT_EQ(Told().addresses_size(), 1);
  ASSERT_EQ(a_.dataplane.state.peers_size(), 1);
  EXPECT_TRUE(a_.dataplane.state.peers(0).has_endpoint());
  loop_.now += 10s;
  Call(a_, b_);
  EXPECT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kUp; }));
}

TEST_F(NodeStateTest, WhatChangesWhileItIsDownIsToldWhenItIsUp) {
  Set(NodeState::kDown);
  TestNode c(loop_, "c", 3);
  ASSERT_TRUE(a_.controller->AddPeer(c.Spec()).ok());
  loop_.Drain();
  EXPECT_EQ(a_.dataplane.state.peers_size(), 0);
  Set(NodeState::kUp);
  EXPECT_EQ(a_.dataplane.state.peers_size(), 2);
}

TEST_F(NodeStateTest, ItStaysDownOverARestartOfTheControllerAndOfTheDataplane) {
  Set(NodeState::kDown);
  Start(a_);
  loop_.Drain();
  EXPECT_EQ(a_.controller->node_state(), NodeState::kDown);
  EXPECT_EQ(a_.dataplane.state.peers_size(), 0);
  a_.dataplane.Restart();
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.Connected(); }));
  a_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
  loop_.Drain();
  EXPECT_TRUE(Told().down());
  EXPECT_EQ(a_.dataplane.state.peers_size(), 0);
  Set(NodeState::kUp);
  Start(a_);
  EXPECT_EQ(a_.controller->node_state(), NodeState::kUp);
}

TEST_F(NodeStateTest, SaidWhileTheDataplaneIsAwayItHoldsFromWhenItIsThere) {
  a_.dataplane.Disconnect();
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.Connected(); }));
  ASSERT_TRUE(a_.controller->SetNodeState(NodeState::kDown).ok());
  a_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
  loop_.Drain();
  EXPECT_TRUE(a_.dataplane.sessions.empty()) << "what it held is not adopted";
  EXPECT_EQ(a_.dataplane.state.peers_size(), 0);
}

TEST_F(NodeStateTest, WhatCannotBeWrittenDownChangesNothing) {
  std::filesystem::create_directories(a_.directory.path() + "/down/in the way");
  EXPECT_FALSE(a_.controller->SetNodeState(NodeState::kDown).ok());
  EXPECT_EQ(a_.controller->node_state(), NodeState::kUp);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kUp);
}

}  // namespace
}  // namespace omni
