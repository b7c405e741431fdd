// SPDX-License-Identifier: Apache-2.0
// Controllers that never saw a Nucleus find each other by beacons, and meet.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "controller/core/testing.h"

namespace omni {
namespace {

using ::testing::IsEmpty;

const ClusterKeys& ClusterOf(int which) {
  static const ClusterKeys keys[2] = {*ClusterKeys::Derive("correct horse battery staple"),
                                      *ClusterKeys::Derive("correct horse battery staplf")};
  return keys[which];
}

class MeshTest : public ::testing::Test {
 protected:
  TestNode& Add(const std::string& name, int number, int cluster = 0) {
    nodes_.push_back(std::make_unique<TestNode>(loop_, name, number));
    TestNode& node = *nodes_.back();
    node.config.beacons = true;
    node.cluster = &ClusterOf(cluster);
    node.secret = static_cast<uint8_t>(1 + cluster);
    node.dataplane.listen_port = 51900;
    node.links = {{.index = 1,
                   .v4 = InterfaceAddress{.address = node.endpoint.address, .length = 24},
                   .v6 = {}}};
    return node;
  }
  void Start(TestNode& node) {
    ASSERT_TRUE(node.StartController().ok());
    node.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([&] { return node.Connected(); }));
  }
  // The controllers' clock goes with that of the loop's timers.
  template <typename Condition>
  bool RunUntil(Condition condition) {
    return loop_.RunUntil([&] {
      loop_.now = Now();
      return condition();
    });
  }
  static bool Knows(const TestNode& a, const TestNode& b) {
    return a.controller->peers().Find(b.config.name) != nullptr;
  }

  TestLoop loop_;
  std::vector<std::unique_ptr<TestNode>> nodes_;
};

TEST_F(MeshTest, NeighboursFindEachOtherAndMeet) {
  TestNode& a = Add("a", 1);
  TestNode& b = Add("b", 2);
  TestNode& c = Add("c", 3);
  for (TestNode* node : {&a, &b, &c}) Start(*node);
  ASSERT_TRUE(RunUntil([&] {
    return std::ranges::all_of(
        nodes_, [&](const auto& one) { return one->controller->peers().size() == 2; });
  }));
  EXPECT_EQ(a.StateOf("c"), PeerState::kIdle) << "nothing is begun without traffic";
  EXPECT_TRUE(a.controller->IsToldByNodes(c.identity.node_id()));
  // Their records hold no address: where they are, the beacons say.
  a.controller->Initiate(c.identity.node_id());
  ASSERT_TRUE(RunUntil([&] { return a.StateOf("c") == PeerState::kUp; }));
  EXPECT_EQ(a.PeerNamed("c").endpoint, c.endpoint);
}

TEST_F(MeshTest, AStrangerIsNotLearnedAndLearnsNothing) {
  TestNode& a = Add("a", 1);
  TestNode& b = Add("b", 2);
  TestNode& stranger = Add("stranger", 3, 1);
  for (TestNode* node : {&a, &b, &stranger}) Start(*node);
  ASSERT_TRUE(RunUntil([&] { return Knows(a, b) && Knows(b, a); }));
  EXPECT_FALSE(Knows(a, stranger));
  EXPECT_EQ(stranger.controller->peers().size(), 0U);
  EXPECT_THAT(stranger.controller->mesh_view()->neighbours, IsEmpty());
}

TEST_F(MeshTest, ARestartedControllerKnowsItsPeersFromItsDisk) {
  TestNode& a = Add("a", 1);
  TestNode& b = Add("b", 2);
  a.interfaces = {a.endpoint.address};
  b.interfaces = {b.endpoint.address};
  for (TestNode* node : {&a, &b}) Start(*node);
  ASSERT_TRUE(RunUntil([&] { return Knows(a, b) && Knows(b, a); }));
  a.controller->Stop();
  b.controller->Stop();
  loop_.Drain();  // what the dataplane still has to answer is theirs
  for (TestNode* node : {&a, &b}) {
    node->links.clear();  // no beacon comes
    node->dataplane.Restart();
    Start(*node);
  }
  EXPECT_TRUE(Knows(a, b));
  EXPECT_TRUE(a.controller->IsToldByNodes(b.identity.node_id()));
  a.controller->Initiate(b.identity.node_id());
  ASSERT_TRUE(RunUntil([&] { return a.StateOf("b") == PeerState::kUp; }));
}

TEST_F(MeshTest, ACallThatWaitsForAnAddressBeginsWhenABeaconTellsIt) {
  TestNode& a = Add("a", 1);
  TestNode& b = Add("b", 2);
  for (TestNode* node : {&a, &b}) Start(*node);
  ASSERT_TRUE(RunUntil([&] { return Knows(a, b) && Knows(b, a); }));
  a.controller->Stop();
  loop_.Drain();
  const std::vector<NetworkLink> links = std::exchange(a.links, {});
  a.dataplane.Restart();
  Start(a);
  ASSERT_TRUE(Knows(a, b));
  a.controller->Initiate(b.identity.node_id());
  EXPECT_NE(a.StateOf("b"), PeerState::kConnecting) << "where b is, nobody has said";
  a.links = links;
  a.controller->CheckNetwork([] {});
  ASSERT_TRUE(RunUntil([&] { return a.StateOf("b") == PeerState::kUp; }));
}

TEST_F(MeshTest, WhoMovesTellsThoseItHasASessionWith) {
  TestNode& a = Add("a", 1);
  TestNode& b = Add("b", 2);
  a.interfaces = {a.endpoint.address};
  b.interfaces = {b.endpoint.address};
  for (TestNode* node : {&a, &b}) Start(*node);
  ASSERT_TRUE(RunUntil([&] { return Knows(a, b) && Knows(b, a); }));
  a.controller->Initiate(b.identity.node_id());
  ASSERT_TRUE(RunUntil(
      [&] { return a.StateOf("b") == PeerState::kUp && b.StateOf("a") == PeerState::kUp; }));
  const Endpoint at = *Endpoint::Parse("192.0.2.99:51900");
  a.interfaces = {at.address};
  a.controller->CheckNetwork([] {});
  ASSERT_TRUE(RunUntil([&] {
    const auto& candidates = b.controller->learned().at(a.identity.node_id()).record.candidates;
    return std::ranges::find(candidates, at, &Candidate::endpoint) != candidates.end();
  }));
}

TEST_F(MeshTest, ARevocationGoesFromNodeToNodeAndToWhoComesLater) {
  TestNode& a = Add("a", 1);
  TestNode& b = Add("b", 2);
  TestNode& c = Add("c", 3);
  for (TestNode* node : {&a, &b, &c}) Start(*node);
  ASSERT_TRUE(RunUntil([&] { return Knows(a, b) && Knows(b, a) && Knows(b, c) && Knows(a, c); }));
  a.controller->Initiate(b.identity.node_id());
  ASSERT_TRUE(RunUntil(
      [&] { return a.StateOf("b") == PeerState::kUp && b.StateOf("a") == PeerState::kUp; }));
  ASSERT_TRUE(a.controller->Revoke("c", "stolen").ok());
  ASSERT_TRUE(RunUntil([&] { return b.controller->revocations().size() == 1; }));
  EXPECT_FALSE(Knows(b, c));
  // c talks to others as before, and does not bring itself back.
  TestNode& d = Add("d", 4);
  Start(d);
  ASSERT_TRUE(RunUntil([&] { return d.controller->revocations().size() == 1; }));
  EXPECT_FALSE(Knows(d, c));
  EXPECT_FALSE(Knows(a, c));
  EXPECT_EQ(b.controller->revocations().refused(), 0U);
}

}  // namespace
}  // namespace omni
