// SPDX-License-Identifier: Apache-2.0
// Two nodes that a Nucleus introduced, and the ways between them.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "controller/core/convert.h"
#include "controller/core/testing.h"
#include "signal/record/record.h"

namespace omni {
namespace {

const Endpoint kLan = *Endpoint::Parse("10.1.1.1:51900");
const Endpoint kDead = *Endpoint::Parse("192.168.9.9:51900");

class PathsTest : public ::testing::Test {
 protected:
  PathsTest() {
    for (TestNode* node : {&a_, &b_}) {
      EXPECT_TRUE(node->StartController().ok());
      node->dataplane.Connect();
      EXPECT_TRUE(loop_.RunUntil([&] { return node->Connected(); }));
    }
    if (b_.identity.node_id() < a_.identity.node_id()) std::swap(decider_, follower_);
    Tell(a_, b_, {});
    Tell(b_, a_, {});
    BringUp();
  }

  void Tell(TestNode& node, const TestNode& of, std::vector<Endpoint> more) {
    NodeRecord record{.cluster = {},
                      .key = of.identity.public_key(),
                      .sequence = ++sequence_,
                      .name = of.config.name,
                      .addresses = {of.config.addresses[0].address},
                      .routes = {},
                      .candidates = {{CandidateKind::kHost, of.endpoint}},
                      .capabilities = {}};
    for (const Endpoint& at : more) record.candidates.push_back({CandidateKind::kHost, at});
    node.controller->OnRecord(record);
  }
  void BringUp() {
    a_.controller->Initiate(b_.identity.node_id());
    EXPECT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kUp; }));
    EXPECT_TRUE(loop_.RunUntil([&] { return b_.StateOf("a") == PeerState::kUp; }));
  }
  static void Open(TestNode& node, const Endpoint& way, Duration rtt) {
    dataplane::v1::Endpoint to;
    ToProto(way, to);
    node.dataplane.ways[to.SerializeAsString()] = rtt.count();
  }
  const Endpoint& PeerOf(const TestNode& node) const {
    return node.PeerNamed(&node == &a_ ? "b" : "a").endpoint;
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
  TestNode* decider_ = &a_;
  TestNode* follower_ = &b_;
  uint64_t sequence_ = 0;
};

TEST_F(PathsTest, OneSideMovesToABetterWayAndTheOtherOnlyTries) {
  for (TestNode* node : {decider_, follower_}) {
    Open(*node, kLan, 1ms);
    Tell(*node, node == decider_ ? *follower_ : *decider_, {kDead, kLan});
  }
  EXPECT_TRUE(loop_.RunUntil([&] { return PeerOf(*decider_) == kLan; }));
  EXPECT_TRUE(loop_.RunUntil([&] { return follower_->dataplane.tries >= 3; }));
  loop_.Drain();
  EXPECT_EQ(std::ranges::count(follower_->dataplane.journal, "move"), 0);
  EXPECT_EQ(std::ranges::count(decider_->dataplane.journal, "move"), 1);
  const Peer& peer = decider_->PeerNamed(decider_ == &a_ ? "b" : "a");
  EXPECT_EQ(decider_->controller->PathOf(peer), PathClass::kLan);
}

TEST_F(PathsTest, AWayThatDoesNotAnswerIsNotTaken) {
  const Endpoint before = PeerOf(*decider_);
  Tell(*decider_, *follower_, {kDead});
  EXPECT_TRUE(loop_.RunUntil([&] {
    loop_.now += 100ms;  // from round to round
    return decider_->dataplane.tries >= 6;
  }));
  EXPECT_EQ(PeerOf(*decider_), before);
}

TEST_F(PathsTest, TheLossIsThatOfThePresentPathAlone) {
  const char* name = decider_ == &a_ ? "b" : "a";
  const auto loss = [&] { return decider_->PeerNamed(name).loss.Get(loop_.now); };
  const auto run_until_tries = [&](int tries) {
    return loop_.RunUntil([&] {
      loop_.now += 2s;
      return decider_->dataplane.tries >= tries;
    });
  };
  Open(*decider_, follower_->endpoint, 1ms);
  Tell(*decider_, *follower_, {kDead});  // which never answers
  ASSERT_TRUE(run_until_tries(20));
  EXPECT_GE(loss().samples, 5U);
  EXPECT_EQ(loss().lost, 0U);
  decider_->dataplane.ways.clear();
  ASSERT_TRUE(run_until_tries(decider_->dataplane.tries + 8));
  EXPECT_GT(loss().lost, 0U);
  EXPECT_LT(loss().lost, loss().samples);
  // Elsewhere nothing is known yet.
  Open(*decider_, kLan, 1ms);
  Tell(*decider_, *follower_, {kLan});
  ASSERT_TRUE(loop_.RunUntil([&] {
    loop_.now += 100ms;
    return PeerOf(*decider_) == kLan;
  }));
  EXPECT_EQ(loss().lost, 0U);
}

TEST_F(PathsTest, NothingIsTriedWithoutASession) {
  const std::string id = decider_->dataplane.sessions.begin()->first;
  decider_->dataplane.EndSession(id, dataplane::v1::SessionEnded::REASON_EXPIRED);
  const char* name = decider_ == &a_ ? "b" : "a";
  ASSERT_TRUE(loop_.RunUntil([&] { return decider_->PeerNamed(name).sessions.empty(); }));
  Tell(*decider_, *follower_, {kLan});
  loop_.now += 3600s;
  loop_.Drain();
  const int tries = decider_->dataplane.tries;
  for (int i = 0; i < 10; ++i) {
    loop_.now += 60s;
    loop_.Drain();
  }
  EXPECT_EQ(decider_->dataplane.tries, tries);
  const Peer& peer = decider_->PeerNamed(name);
  EXPECT_FALSE(decider_->controller->PathOf(peer));
}

}  // namespace
}  // namespace omni
