// SPDX-License-Identifier: Apache-2.0
// Nodes that are excluded from the cluster: by this node's administrator, or as a Nucleus passes
// on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "common/status.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

const ClusterKeys& Keys(int which) {
  static const ClusterKeys keys[2] = {*ClusterKeys::Derive("correct horse battery staple"),
                                      *ClusterKeys::Derive("correct horse battery staplf")};
  return keys[which];
}

class RevokingTest : public ::testing::Test {
 protected:
  RevokingTest() {
    a_.cluster = &Keys(0);
    b_.cluster = &Keys(0);
  }
  void Start(TestNode& node) {
    ASSERT_TRUE(node.StartController().ok());
    node.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([&] { return node.Connected(); }));
  }
  // a and b know each other by configuration, and have a session.
  void Connect() {
    a_.AddToConfig(b_.Spec());
    b_.AddToConfig(a_.Spec());
    Start(a_);
    Start(b_);
    a_.controller->Initiate(Id(b_));
    ASSERT_TRUE(loop_.RunUntil(
        [&] { return a_.StateOf("b") == PeerState::kUp && b_.StateOf("a") == PeerState::kUp; }));
  }
  static NodeId Id(const TestNode& node) { return node.identity.node_id(); }
  static NodeRecord RecordOf(const TestNode& node) {
    return {.cluster = {},
            .key = node.identity.public_key(),
            .sequence = 1,
            .name = node.config.name,
            .addresses = {node.config.addresses[0].address},
            .routes = {},
            .candidates = {{CandidateKind::kHost, node.endpoint}},
            .capabilities = {}};
  }
  static signal::v1::SignedRevocation Statement(const TestNode& node, int by = 0) {
    return Sign(
        {.cluster = Keys(by).key.id(), .node = Id(node), .time = 1, .name = "", .reason = "stolen"},
        Keys(by));
  }
  uint64_t Refusals() const {
    return a_.controller->failures().count(noise::FailureReason::kRevoked);
  }
  size_t SessionsOf(const TestNode& node) {
    size_t sessions = 0;
    bool answered = false;
    node.controller->dataplane().GetState([&](const auto& state) {
      for (const auto& peer : state->peers()) {
        sessions += static_cast<size_t>(peer.sessions_size());
      }
      answered = true;
    });
    EXPECT_TRUE(loop_.RunUntil([&] { return answered; }));
    return sessions;
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
};

TEST_F(RevokingTest, AConfiguredPeerStaysInSightAndGetsNothing) {
  Connect();
  const auto revoked = a_.controller->Revoke("b", "stolen");
  ASSERT_TRUE(revoked.ok()) << revoked.status();
  EXPECT_EQ((*revoked)->revocation.name, "b");
  EXPECT_EQ(a_.StateOf("b"), PeerState::kRevoked);
  EXPECT_EQ(a_.PeerNamed("b").last_error, "revoked: stolen");
  EXPECT_TRUE(a_.PeerNamed("b").sessions.empty());
  loop_.Drain();
  EXPECT_EQ(SessionsOf(a_), 0U);
  // It cannot come back.
  loop_.now += 1s;
  b_.controller->Initiate(Id(a_));
  ASSERT_TRUE(loop_.RunUntil([&] { return Refusals() == 1; }));
  EXPECT_EQ(SessionsOf(a_), 0U);
  // Nor when we ask for it.
  a_.controller->Initiate(Id(b_));
  loop_.Drain();
  EXPECT_EQ(a_.StateOf("b"), PeerState::kRevoked);
  // Again is no error, and changes nothing.
  ASSERT_TRUE(a_.controller->Revoke(Id(b_).ToString(), "other").ok());
  EXPECT_EQ(a_.PeerNamed("b").last_error, "revoked: stolen");
}

TEST_F(RevokingTest, ItHoldsAfterRestartsOfTheControllerAndOfTheDataplane) {
  Connect();
  ASSERT_TRUE(a_.controller->Revoke("b", "stolen").ok());
  a_.controller.reset();
  Start(a_);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kRevoked);
  EXPECT_EQ(SessionsOf(a_), 0U);
  a_.dataplane.Restart();
  a_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
  loop_.now += 1s;
  b_.controller->Initiate(Id(a_));
  ASSERT_TRUE(loop_.RunUntil([&] { return Refusals() == 1; }));
  EXPECT_EQ(SessionsOf(a_), 0U);
}

TEST_F(RevokingTest, SessionsThatTheDataplaneKeptFromBeforeEnd) {
  Connect();
  // The controller is gone before it can tell the dataplane: what it left is a file.
  Revocations written({Keys(0).key}, a_.directory.path() + "/revocations.bin");
  written.Take(Statement(b_));
  a_.controller.reset();
  ASSERT_TRUE(written.Save().ok());
  Start(a_);
  loop_.Drain();
  EXPECT_EQ(SessionsOf(a_), 0U);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kRevoked);
}

TEST_F(RevokingTest, APeerOfTheNucleusGoesAndItsRecordIsNotTakenAgain) {
  Start(a_);
  Start(b_);
  a_.controller->OnRecord(RecordOf(b_));
  b_.controller->OnRecord(RecordOf(a_));
  loop_.Drain();
  a_.controller->Initiate(Id(b_));
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kUp; }));
  EXPECT_NE(a_.controller->OnRevocation(Statement(b_)).entry, nullptr);
  EXPECT_EQ(a_.controller->peers().Find("b"), nullptr);
  EXPECT_TRUE(a_.controller->learned().empty());
  a_.controller->OnRecord(RecordOf(b_));
  EXPECT_TRUE(a_.controller->learned().empty());
  loop_.Drain();
  EXPECT_EQ(SessionsOf(a_), 0U);
  loop_.now += 1s;
  b_.controller->Initiate(Id(a_));
  ASSERT_TRUE(loop_.RunUntil([&] { return Refusals() == 1; }));
  // What was heard is on disk as well.
  a_.controller.reset();
  Start(a_);
  EXPECT_EQ(a_.controller->revocations().size(), 1U);
}

TEST_F(RevokingTest, WhatNoMemberSignedChangesNothing) {
  Connect();
  EXPECT_EQ(a_.controller->OnRevocation(Statement(b_, 1)).entry, nullptr);
  auto damaged = Statement(b_);
  damaged.mutable_signature()->back() ^= 1;
  EXPECT_EQ(a_.controller->OnRevocation(damaged).entry, nullptr);
  EXPECT_EQ(a_.controller->revocations().refused(), 2U);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kUp);
}

TEST_F(RevokingTest, ARevokedNodeCannotBeAddedAgain) {
  Start(a_);
  const auto by_id = a_.controller->Revoke(Id(b_).ToString(), "");
  ASSERT_TRUE(by_id.ok()) << by_id.status();  // a node that is not known here
  EXPECT_EQ(a_.controller->AddPeer(b_.Spec()).status().code(),
            absl::StatusCode::kFailedPrecondition);
  // The configuration may still hold it.
  a_.AddToConfig(b_.Spec());
  Start(a_);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kRevoked);
  EXPECT_EQ(a_.PeerNamed("b").last_error, "revoked: no reason was given");
}

TEST_F(RevokingTest, WhatCannotBeDoneIsAClearError) {
  Start(a_);
  EXPECT_EQ(a_.controller->Revoke("nobody", "").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(a_.controller->Revoke(Id(a_).ToString(), "").status())),
              HasSubstr("is this node itself"));
  EXPECT_THAT(std::string(Message(
                  a_.controller->Revoke(Id(b_).ToString(), std::string(201, 'x')).status())),
              HasSubstr("reason: has 201 bytes"));
  EXPECT_EQ(a_.controller->revocations().size(), 0U);
  b_.cluster = nullptr;
  Start(b_);
  EXPECT_EQ(b_.controller->Revoke(Id(a_).ToString(), "").status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(RevokingTest, AListThatCannotBeReadIsNoReasonToLetEverybodyIn) {
  const std::string file = a_.directory.path() + "/revocations.bin";
  std::ofstream(file) << "\xff\xff";
  std::filesystem::permissions(file, std::filesystem::perms::owner_read);
  const absl::Status status = a_.StartController();
  EXPECT_THAT(std::string(Message(status)), HasSubstr(file));
}

}  // namespace
}  // namespace omni
