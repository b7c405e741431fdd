// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/mesh/testing.h"
#include "signal/record/codes.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using Verdict = RevocationList::Verdict;

pb::SignedRevocation Statement(const NodeId& node, int cluster = 0, int64_t time = 1) {
  const ClusterKeys& keys = MeshCluster(cluster).present();
  return Sign({.cluster = keys.key.id(), .node = node, .time = time, .name = "", .reason = ""},
              keys);
}

NodeId SomeNode(int number) {
  NodeId node;
  node.bytes[0] = static_cast<uint8_t>(number);
  node.bytes[1] = static_cast<uint8_t>(number >> 8);
  return node;
}

class SignalingRevocations : public ::testing::Test {
 protected:
  void Link(MeshNode& a, MeshNode& b) {
    a.sessions[b.id()] = b.at;
    b.sessions[a.id()] = a.at;
    a.Exchange(b);
    ASSERT_TRUE(network_.RunUntil([&] {
      return a.signaling->IsLinked(b.id()) && b.signaling->IsLinked(a.id()) && b.SequenceOf(a) > 0;
    }));
    network_.RunFor(100ms);
  }
  static bool Knows(const MeshNode& node, const NodeId& revoked) {
    return node.revocations.Find(revoked) != nullptr;
  }
  quic::TestNetwork network_;
  MeshNode a_{network_, 1};
  MeshNode b_{network_, 2};
  MeshNode c_{network_, 3};
};

TEST_F(SignalingRevocations, TravelFromNodeToNodeAndNoFurtherThanTheyAreNews) {
  Link(a_, b_);
  Link(b_, c_);
  Link(c_, a_);
  network_.RunFor(1s);
  const size_t before = a_.datagrams + b_.datagrams + c_.datagrams;
  const Instant began = network_.now();
  EXPECT_EQ(a_.Revoke(Statement(SomeNode(9))), Verdict::kNew);
  ASSERT_TRUE(network_.RunUntil([&] { return Knows(b_, SomeNode(9)) && Knows(c_, SomeNode(9)); }));
  EXPECT_LT(network_.now() - began, 1s);
  network_.RunFor(5s);
  // One message on each way, some of them from both ends at once, and acknowledgements.
  EXPECT_LE(a_.datagrams + b_.datagrams + c_.datagrams - before, 16U);
  EXPECT_EQ(a_.signaling->view(network_.now()).refused, 0U);
}

TEST_F(SignalingRevocations, GoesOverAChainOfNodes) {
  Link(a_, b_);
  Link(b_, c_);
  a_.Revoke(Statement(SomeNode(9)));
  ASSERT_TRUE(network_.RunUntil([&] { return Knows(c_, SomeNode(9)); }));
}

TEST_F(SignalingRevocations, WhoConnectsLaterIsShownAllOfThemByBothSides) {
  for (int i = 0; i < 600; ++i) a_.Revoke(Statement(SomeNode(i + 1)));
  b_.Revoke(Statement(SomeNode(700)));
  Link(a_, b_);
  ASSERT_TRUE(network_.RunUntil(
      [&] { return a_.revocations.size() == 601 && b_.revocations.size() == 601; }));
  const ClusterId id = MeshCluster(0).present().key.id();
  EXPECT_EQ(a_.revocations.DigestOf(id), b_.revocations.DigestOf(id));
  EXPECT_EQ(b_.signaling->view(network_.now()).refused, 0U);
}

TEST_F(SignalingRevocations, ManyAtOnceAreNotToldOneByOne) {
  Link(a_, b_);
  for (int i = 0; i < 200; ++i) a_.Revoke(Statement(SomeNode(i + 1)));
  ASSERT_TRUE(network_.RunUntil([&] { return b_.revocations.size() == 200; }));
  EXPECT_EQ(b_.signaling->view(network_.now()).refused, 0U);
}

TEST_F(SignalingRevocations, AComparisonFindsWhatAConnectionMissed) {
  Link(a_, b_);
  a_.revocations.Take(Statement(SomeNode(9)));  // and nobody was told
  b_.signaling->Compare(a_.id(), a_.at, network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return Knows(b_, SomeNode(9)); }));
}

TEST_F(SignalingRevocations, TheRevokedOneLosesItsConnectionAndGetsNoOther) {
  Link(a_, b_);
  Link(a_, c_);
  Link(b_, c_);
  a_.Revoke(Statement(c_.id()));
  ASSERT_TRUE(network_.RunUntil([&] { return Knows(b_, c_.id()); }));
  network_.RunFor(1s);
  EXPECT_FALSE(b_.signaling->IsLinked(c_.id()));
  EXPECT_FALSE(c_.signaling->IsLinked(b_.id()));
  c_.Exchange(b_);
  network_.RunFor(5s);
  EXPECT_FALSE(b_.signaling->IsLinked(c_.id()));
  EXPECT_GT(b_.signaling->view(network_.now()).refused, 0U);
}

// A member that says what it likes.
class HostileTeller : public SignalingRevocations {
 protected:
  HostileTeller() {
    raw_.Connect(b_);
    EXPECT_TRUE(network_.RunUntil([&] { return raw_.connected; }));
    raw_.Hello(evil_.own, evil_.id());
    network_.RunFor(100ms);
  }
  void Say(const std::vector<pb::SignedRevocation>& statements) {
    pb::PeerMessage message;
    for (const auto& one : statements) *message.mutable_revocations()->add_revocations() = one;
    raw_.Say(message.SerializeAsString());
    network_.RunFor(50ms);
  }
  uint64_t Refused() { return b_.signaling->view(network_.now()).refused; }
  MeshNode evil_{network_, 9};
  RawMember raw_{network_, evil_, "203.0.113.9:51900"};
};

TEST_F(HostileTeller, WhatTheClusterKeyDoesNotSignIsRefusedAndCounted) {
  auto damaged = Statement(a_.id());
  damaged.mutable_signature()->back() ^= 1;
  auto other = Statement(a_.id());
  other.set_revocation(Statement(c_.id()).revocation());
  Say({damaged, other, Statement(a_.id(), 1), {}});
  EXPECT_EQ(b_.revocations.size(), 0U);
  EXPECT_EQ(Refused(), 4U);
}

TEST_F(HostileTeller, NoMessageHoldsMoreThanItMay) {
  std::vector<pb::SignedRevocation> many;
  for (int i = 0; i < 17; ++i) many.push_back(Statement(SomeNode(i + 1)));
  Say(many);
  EXPECT_EQ(b_.revocations.size(), 0U);
  EXPECT_EQ(Refused(), 1U);
}

TEST_F(HostileTeller, TheListHasAnEnd) {
  for (int i = 0; i < 1200; i += 15) {
    std::vector<pb::SignedRevocation> some;
    for (int j = i; j < i + 15; ++j) some.push_back(Statement(SomeNode(j + 1)));
    Say(some);
  }
  network_.RunFor(1s);
  EXPECT_EQ(b_.revocations.size(), kMaxRevocations);
  EXPECT_GE(Refused(), 200U);
}

TEST_F(HostileTeller, WhoCompareAllTheTimeIsNotShownTheListEachTime) {
  for (int i = 0; i < 300; ++i) b_.revocations.Take(Statement(SomeNode(i + 1)));
  pb::PeerMessage message;
  auto& held = *message.mutable_compare()->add_held();
  held.set_cluster_id(MeshCluster(0).present().key.id().ToBytes());
  for (int i = 0; i < 50; ++i) {
    raw_.Say(message.SerializeAsString());
    network_.RunFor(20ms);
  }
  network_.RunFor(2s);
  size_t shown = 0;
  for (const std::string& text : raw_.messages) {
    pb::PeerMessage parsed;
    ASSERT_TRUE(parsed.ParseFromString(text));
    shown += static_cast<size_t>(parsed.revocations().revocations_size());
  }
  EXPECT_GE(shown, 300U);
  EXPECT_LE(shown, 4 * 300U);
  // And more secrets than anybody holds are against the rules.
  message.mutable_compare()->add_held();
  message.mutable_compare()->add_held();
  const uint64_t before = Refused();
  raw_.Say(message.SerializeAsString());
  network_.RunFor(100ms);
  EXPECT_EQ(Refused(), before + 1);
}

TEST_F(HostileTeller, ItsOwnRevocationEndsItsConnection) {
  Say({Statement(SomeNode(1)), Statement(evil_.id()), Statement(SomeNode(2))});
  ASSERT_TRUE(network_.RunUntil([&] { return raw_.closed.has_value(); }));
  EXPECT_EQ(raw_.closed->code, kCloseViolation);
  EXPECT_EQ(b_.revocations.size(), 3U) << "it is signed, whoever says it";
}

}  // namespace
}  // namespace omni
