// SPDX-License-Identifier: Apache-2.0
// Engines that hold two cluster secrets, while a cluster goes from one to the next.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "controller/noise/test_node.h"

namespace omni::noise {
namespace {

const SecretTag kOld = {1};
const SecretTag kNew = {2};

std::vector<ClusterSecret> Secrets(const std::vector<SecretTag>& tags) {
  std::vector<ClusterSecret> secrets;
  for (const SecretTag& tag : tags) {
    secrets.push_back({.psk = Key32(std::array<uint8_t, 32>{tag[0]}), .tag = tag});
  }
  return secrets;
}

class SecretsTest : public ::testing::Test {
 protected:
  SecretsTest() {
    EXPECT_TRUE(a_.Know(b_).ok() && b_.Know(a_).ok());
    a_.engine.SetSecrets(Secrets({kOld}));
    b_.engine.SetSecrets(Secrets({kOld}));
  }
  // Carries a try of `from` to `to` and back. Whether a session came of it on both sides.
  bool Shake(TestNode& from, TestNode& to) {
    now_ += 1s;
    Output out = from.engine.Initiate(to.id, now_);
    if (out.datagrams.empty()) {
      now_ = std::max(now_, *from.engine.NextDeadline());
      out = from.engine.OnTimer(now_);
    }
    if (out.datagrams.size() != 1) return false;
    const Output answer = to.engine.OnDatagram(out.datagrams[0].bytes, from.endpoint, now_);
    failures_ = answer.failures;
    if (answer.sessions.size() != 1 || answer.datagrams.size() != 1) return false;
    return from.engine.OnDatagram(answer.datagrams[0].bytes, to.endpoint, now_).sessions.size() ==
           1;
  }

  Instant now_ = kStart;
  TestNode a_{1};
  TestNode b_{2};
  std::vector<Failure> failures_;
};

TEST_F(SecretsTest, EachStepOfAChangeWorksInBothDirections) {
  const std::vector<SecretTag> steps[] = {{kOld}, {kOld, kNew}, {kNew, kOld}, {kNew}};
  for (size_t i = 0; i < 3; ++i) {
    // One is a step ahead of the other.
    a_.engine.SetSecrets(Secrets(steps[i + 1]));
    b_.engine.SetSecrets(Secrets(steps[i]));
    // The first try may be made with what the other lacks; the next one is not.
    EXPECT_TRUE(Shake(a_, b_) || Shake(a_, b_)) << i;
    EXPECT_TRUE(Shake(b_, a_) || Shake(b_, a_)) << i;
    EXPECT_TRUE(Shake(a_, b_)) << i;
    EXPECT_TRUE(Shake(b_, a_)) << i;
    b_.engine.SetSecrets(Secrets(steps[i + 1]));
    EXPECT_TRUE(Shake(a_, b_)) << i;
    EXPECT_TRUE(Shake(b_, a_)) << i;
  }
}

TEST_F(SecretsTest, HandshakesTellWhichSecretThePeerUses) {
  EXPECT_EQ(a_.engine.SecretOf(b_.id), std::nullopt);
  a_.engine.SetSecrets(Secrets({kNew, kOld}));
  b_.engine.SetSecrets(Secrets({kOld, kNew}));
  ASSERT_TRUE(Shake(a_, b_));
  EXPECT_EQ(a_.engine.SecretOf(b_.id), kOld);
  EXPECT_EQ(b_.engine.SecretOf(a_.id), kNew);
  b_.engine.SetSecrets(Secrets({kNew, kOld}));
  ASSERT_TRUE(Shake(b_, a_));
  EXPECT_EQ(a_.engine.SecretOf(b_.id), kNew);
}

TEST_F(SecretsTest, WhatIsKnownOfThePeerDecidesTheFirstTry) {
  a_.engine.SetSecrets(Secrets({kNew, kOld}));
  a_.engine.SetPeerSecret(b_.id, kOld);  // b has nothing else
  EXPECT_TRUE(Shake(a_, b_));
  a_.engine.SetPeerSecret(b_.id, kNew);  // a lie, or b has restarted with an old file
  EXPECT_FALSE(Shake(a_, b_));
  ASSERT_EQ(failures_.size(), 1U);
  EXPECT_EQ(failures_[0].reason, FailureReason::kAuthentication);
  EXPECT_TRUE(Shake(a_, b_));
}

TEST_F(SecretsTest, WhoHasOnlyTheFormerSecretGetsNoAnswer) {
  a_.engine.SetSecrets(Secrets({kNew}));
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(Shake(b_, a_));
    ASSERT_EQ(failures_.size(), 1U);
    EXPECT_EQ(failures_[0].reason, FailureReason::kAuthentication);
    EXPECT_FALSE(Shake(a_, b_));
  }
}

TEST_F(SecretsTest, AnAnswerToATryUnderADroppedSecretIsNotTaken) {
  const Output out = a_.engine.Initiate(b_.id, now_);
  const Output answer = b_.engine.OnDatagram(out.datagrams.at(0).bytes, a_.endpoint, now_);
  ASSERT_EQ(answer.datagrams.size(), 1U);
  const size_t tags = a_.engine.reserved_tags();
  a_.engine.SetSecrets(Secrets({kNew}));
  EXPECT_LT(a_.engine.reserved_tags(), tags);
  const Output late = a_.engine.OnDatagram(answer.datagrams[0].bytes, b_.endpoint, now_);
  EXPECT_TRUE(late.sessions.empty());
  // The handshake goes on with the secret that is held now.
  b_.engine.SetSecrets(Secrets({kNew}));
  now_ += 1s;
  const Output again = a_.engine.OnTimer(now_);
  ASSERT_EQ(again.datagrams.size(), 1U);
  EXPECT_EQ(b_.engine.OnDatagram(again.datagrams[0].bytes, a_.endpoint, now_).sessions.size(), 1U);
}

TEST_F(SecretsTest, APairPskGoesWithEachSecret) {
  const Key32 pair(std::array<uint8_t, 32>{9});
  a_.engine.RemovePeer(b_.id);
  b_.engine.RemovePeer(a_.id);
  ASSERT_TRUE(a_.Know(b_, pair.Clone()).ok() && b_.Know(a_, pair.Clone()).ok());
  a_.engine.SetSecrets(Secrets({kNew, kOld}));
  EXPECT_TRUE(Shake(b_, a_));
  b_.engine.RemovePeer(a_.id);
  ASSERT_TRUE(b_.Know(a_).ok());
  EXPECT_FALSE(Shake(b_, a_));
}

}  // namespace
}  // namespace omni::noise
