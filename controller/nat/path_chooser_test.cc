// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/path_chooser.h"

#include <gtest/gtest.h>

#include <map>

namespace omni {
namespace {

Endpoint At(std::string_view text) { return Endpoint::Parse(text).value(); }

const PathCandidate kRelay{At("198.51.100.1:51900"), PathClass::kRelay};
const PathCandidate kV4{At("203.0.113.7:40000"), PathClass::kV4};
const PathCandidate kOtherV4{At("203.0.113.8:40000"), PathClass::kV4};
const PathCandidate kV6{At("[2001:db8::7]:51900"), PathClass::kV6};
const PathCandidate kLan{At("10.0.0.7:51900"), PathClass::kLan};

// A network in which each path has a time, or none.
class PathChooserTest : public ::testing::Test {
 protected:
  // A session comes to be.
  void Begin(PathChooser& chooser, const PathCandidate& present,
             const std::vector<PathCandidate>& candidates) {
    chooser.SetPresent(present, now_);
    chooser.SetCandidates(candidates, now_);
    chooser.Hurry(now_);
  }
  void Run(Duration time, PathChooser& chooser) {
    const Instant end = now_ + time;
    while (chooser.NextDeadline() && *chooser.NextDeadline() <= end) {
      now_ = std::max(now_, *chooser.NextDeadline());
      const auto tries = chooser.OnTimer(now_);
      ++rounds_;
      tried_ += tries.size();
      for (const auto& one : tries) {
        const auto rtt = network_.find(one.to);
        if (rtt == network_.end()) continue;
        if (const auto move = chooser.OnAnswer(one, rtt->second, now_)) {
          moves_.push_back(*move);
        }
      }
    }
    now_ = end;
  }

  Instant now_ = Instant(1000s);
  std::map<Endpoint, Duration> network_;
  std::vector<Endpoint> moves_;
  size_t tried_ = 0;
  int rounds_ = 0;
  PathChooser chooser_{PathRole::kDecides};
};

TEST_F(PathChooserTest, TriesNothingBeforeThereIsASession) {
  chooser_.SetCandidates({kV4, kV6}, now_);
  chooser_.SetPresent(kV4, now_);
  EXPECT_FALSE(chooser_.NextDeadline());
}

TEST_F(PathChooserTest, LeavesTheRelayWithTheFirstAnswer) {
  network_ = {{kRelay.to, 5ms}, {kV4.to, 80ms}};
  Begin(chooser_, kRelay, {kV4, kLan});
  Run(0s, chooser_);
  EXPECT_EQ(moves_, std::vector{kV4.to});
  EXPECT_EQ(chooser_.rtt(), 80ms);
}

TEST_F(PathChooserTest, KeepsTryingCheaplyAndMovesWhenAWayAppears) {
  network_ = {{kRelay.to, 5ms}};
  Begin(chooser_, kRelay, {kV4});
  Run(3600s, chooser_);
  EXPECT_TRUE(moves_.empty());
  EXPECT_LE(rounds_, 8 + 3600 / 25);
  network_[kV4.to] = 30ms;
  Run(25s, chooser_);
  EXPECT_EQ(moves_, std::vector{kV4.to});
}

TEST_F(PathChooserTest, TakesTheBestClass) {
  network_ = {{kV4.to, 1ms}, {kV6.to, 20ms}, {kLan.to, 30ms}};
  Begin(chooser_, kV4, {kV4, kV6, kLan});
  Run(10s, chooser_);
  EXPECT_EQ(moves_.back(), kLan.to);
}

TEST_F(PathChooserTest, AClearlyFasterPathOfTheClassHasToShowItThreeTimes) {
  network_ = {{kV4.to, 50ms}, {kOtherV4.to, 20ms}};
  Begin(chooser_, kV4, {kV4, kOtherV4});
  Run(300ms, chooser_);  // three rounds, and the fourth counts what they showed
  EXPECT_TRUE(moves_.empty());
  Run(10s, chooser_);
  EXPECT_EQ(moves_, std::vector{kOtherV4.to});
}

TEST_F(PathChooserTest, DoesNotMoveForAFewPercentOrMicroseconds) {
  network_ = {{kV4.to, 50ms}, {kOtherV4.to, 45ms}};
  Begin(chooser_, kV4, {kV4, kOtherV4});
  Run(3600s, chooser_);
  network_ = {{kV4.to, 900us}, {kOtherV4.to, 100us}};
  Run(3600s, chooser_);
  EXPECT_TRUE(moves_.empty());
}

TEST_F(PathChooserTest, TwoPathsThatTakeTurnsDoNotMakeItFlap) {
  network_ = {{kV4.to, 50ms}, {kOtherV4.to, 50ms}};
  Begin(chooser_, kV4, {kV4, kOtherV4});
  for (int i = 0; i < 200; ++i) {
    network_[kV4.to] = i % 2 == 0 ? 10ms : 90ms;
    network_[kOtherV4.to] = i % 2 == 0 ? 90ms : 10ms;
    Run(25s, chooser_);
  }
  EXPECT_LE(moves_.size(), 1U);
}

TEST_F(PathChooserTest, LeavesADeadPathForAWorseOneThatLives) {
  network_ = {{kV6.to, 10ms}, {kRelay.to, 90ms}};
  Begin(chooser_, kV6, {kV6, kRelay});
  Run(60s, chooser_);
  EXPECT_TRUE(moves_.empty());
  network_.erase(kV6.to);
  Run(100s, chooser_);
  EXPECT_EQ(moves_, std::vector{kRelay.to});
  network_[kV6.to] = 10ms;
  Run(30s, chooser_);
  EXPECT_EQ(moves_.back(), kV6.to);
}

TEST_F(PathChooserTest, ANetworkThatChangedShowsADeadPathWithinASecond) {
  network_ = {{kV6.to, 10ms}, {kV4.to, 20ms}};
  Begin(chooser_, kV6, {kV6, kV4});
  Run(60s, chooser_);
  network_.erase(kV6.to);
  chooser_.Hurry(now_);
  Run(1s, chooser_);
  EXPECT_EQ(moves_, std::vector{kV4.to});
}

TEST_F(PathChooserTest, LeavesAnAddressThatThePeerHasNoMoreAtOnce) {
  network_ = {{kV6.to, 10ms}, {kV4.to, 20ms}};
  Begin(chooser_, kV6, {kV6, kV4});
  Run(60s, chooser_);
  network_.erase(kV6.to);
  chooser_.SetCandidates({kV4}, now_);
  Run(0s, chooser_);
  EXPECT_EQ(moves_, std::vector{kV4.to});
}

TEST_F(PathChooserTest, StaysWhereThePeerIsSeenThoughItNeverSaidSo) {
  network_ = {{kOtherV4.to, 10ms}, {kV4.to, 10ms}};  // a hard NAT's mapping
  Begin(chooser_, kOtherV4, {kV4});
  Run(60s, chooser_);
  chooser_.SetCandidates({kV4, kLan}, now_);
  Run(60s, chooser_);
  EXPECT_TRUE(moves_.empty());
}

TEST_F(PathChooserTest, WhoFollowsTriesAndDoesNotMove) {
  PathChooser follower(PathRole::kFollows);
  network_ = {{kV4.to, 90ms}, {kLan.to, 1ms}};
  Begin(follower, kV4, {kLan});
  Run(600s, follower);
  EXPECT_TRUE(moves_.empty());
  EXPECT_GT(tried_, 20U) << "its NAT must open";
}

TEST_F(PathChooserTest, WhoFollowsLeavesARelayThatTheOtherDoesNotLeave) {
  PathChooser follower(PathRole::kFollows);
  network_ = {{kRelay.to, 5ms}, {kV4.to, 9ms}, {kOtherV4.to, 1ms}};
  Begin(follower, kRelay, {kV4});
  Run(500ms, follower);
  EXPECT_TRUE(moves_.empty()) << "the other comes first";
  Run(1s, follower);
  EXPECT_EQ(moves_, std::vector{kV4.to});
  follower.SetCandidates({kV4, kOtherV4, kLan}, now_);
  network_[kLan.to] = 1ms;
  Run(600s, follower);
  EXPECT_EQ(moves_.size(), 1U) << "what is better among direct ways is the other's to say";
}

TEST_F(PathChooserTest, ARelayThatTheOtherLeftIsTriedNoMore) {
  PathChooser follower(PathRole::kFollows);
  follower.SetCandidates({kV4, kV6}, now_);
  follower.SetPresent(kRelay, now_);
  follower.Hurry(now_);
  EXPECT_EQ(follower.OnTimer(now_).size(), 3U);
  follower.SetPresent(kV4, now_);  // the other's packets come from there
  const auto tries = follower.OnTimer(now_);
  ASSERT_EQ(tries.size(), 2U);
  for (const auto& one : tries) EXPECT_NE(one.to, kRelay.to);
  follower.SetPresent(kV6, now_);
  EXPECT_EQ(follower.OnTimer(now_).size(), 2U) << "the peer says that it is there, too";
}

TEST_F(PathChooserTest, APathThatTurnsOutToBeARelayIsLeftAsOne) {
  network_ = {{kOtherV4.to, 1ms}, {kV4.to, 9ms}};
  Begin(chooser_, kOtherV4, {kV4});
  Run(60s, chooser_);
  EXPECT_TRUE(moves_.empty());
  chooser_.SetPresent({kOtherV4.to, PathClass::kRelay}, now_);
  Run(1s, chooser_);
  EXPECT_EQ(moves_, std::vector{kV4.to});
}

TEST_F(PathChooserTest, AnswersOfOldRoundsAndOtherPathsMeanNothing) {
  Begin(chooser_, kRelay, {kV4});
  const auto first = chooser_.OnTimer(now_);
  ASSERT_EQ(first.size(), 2U);
  for (int i = 1; i <= 3; ++i) ASSERT_EQ(chooser_.OnTimer(now_ + i * 1s).size(), 2U);
  EXPECT_FALSE(chooser_.OnAnswer(first[1], 1ms, now_ + 3s)) << "too late";
  EXPECT_FALSE(chooser_.OnAnswer({4, kV6.to}, 1ms, now_ + 3s)) << "no such path";
  EXPECT_FALSE(chooser_.OnAnswer({5, kV4.to}, 1ms, now_ + 3s)) << "no such round";
  EXPECT_TRUE(chooser_.OnAnswer({3, kV4.to}, 1ms, now_ + 3s)) << "on its way when the next began";
}

TEST_F(PathChooserTest, DoesNotGoBackToWhatThePeerHasNoMore) {
  network_ = {{kV6.to, 10ms}, {kV4.to, 20ms}};
  Begin(chooser_, kV6, {kV6, kV4});
  Run(60s, chooser_);
  chooser_.SetCandidates({kV4}, now_);
  Run(60s, chooser_);  // though what is under way still answers
  EXPECT_EQ(moves_, std::vector{kV4.to});
}

TEST_F(PathChooserTest, WhatAnsweredBeforeTheNetworkChangedIsNoReasonToMove) {
  network_ = {{kV6.to, 10ms}, {kV4.to, 20ms}};
  Begin(chooser_, kV6, {kV6, kV4});
  Run(60s, chooser_);
  network_.erase(kV6.to);
  chooser_.SetPresent(kV4, now_);  // the peer was faster: it is seen there
  Run(60s, chooser_);
  EXPECT_TRUE(moves_.empty());
}

TEST_F(PathChooserTest, WhereThePeerIsSeenIsTriedBeforeItIsLeft) {
  network_ = {{kV4.to, 20ms}, {kOtherV4.to, 20ms}};
  Begin(chooser_, kV4, {kV4});
  Run(60s, chooser_);
  chooser_.SetPresent(kOtherV4, now_);
  Run(60s, chooser_);
  EXPECT_TRUE(moves_.empty());
}

TEST_F(PathChooserTest, WhoIsFarAwayHasTheTimeToAnswer) {
  Begin(chooser_, kV6, {kV6, kV4});
  const Duration far = 450ms;
  for (Instant end = now_ + 60s; *chooser_.NextDeadline() < end;) {
    now_ = *chooser_.NextDeadline();
    const auto tries = chooser_.OnTimer(now_);
    EXPECT_FALSE(chooser_.OnAnswer({tries[0].round, kV4.to}, 1ms, now_));
    chooser_.OnAnswer(tries[0], far, now_ + far);
  }
  // Now it has been measured; the next time only its time tells it from a dead one.
  chooser_.Hurry(now_);
  for (int i = 0; i < 4; ++i) {
    now_ = *chooser_.NextDeadline();
    const auto tries = chooser_.OnTimer(now_);
    EXPECT_FALSE(chooser_.OnAnswer({tries[0].round, kV4.to}, 1ms, now_)) << i;
  }
}

TEST_F(PathChooserTest, WhoFollowsLeavesADeadPath) {
  PathChooser follower(PathRole::kFollows);
  network_ = {{kV6.to, 10ms}, {kV4.to, 20ms}};
  Begin(follower, kV6, {kV6, kV4});
  Run(60s, follower);
  network_.erase(kV6.to);
  follower.Hurry(now_);  // its own address is gone, and the other cannot know
  Run(300ms, follower);
  EXPECT_EQ(moves_, std::vector{kV4.to});
}

TEST_F(PathChooserTest, AHostileRecordIsTriedInPartOnly) {
  std::vector<PathCandidate> many;
  for (uint16_t port = 1; port <= 1000; ++port)
    many.push_back({{kV4.to.address, port}, PathClass::kV4});
  chooser_.SetPresent(kRelay, now_);
  chooser_.SetCandidates(many, now_);
  chooser_.Hurry(now_);
  const auto tries = chooser_.OnTimer(now_);
  EXPECT_EQ(tries.size(), 17U);
  EXPECT_EQ(tries.front().to, kRelay.to) << "the present one above all";
}

TEST_F(PathChooserTest, RestsUntilThereIsTrafficAgain) {
  Begin(chooser_, kV4, {kV6});
  Run(5s, chooser_);
  chooser_.Rest();
  chooser_.SetCandidates({kLan}, now_);
  chooser_.SetPresent(kLan, now_);
  EXPECT_FALSE(chooser_.NextDeadline());
  chooser_.Hurry(now_);
  EXPECT_EQ(chooser_.NextDeadline(), now_);
}

}  // namespace
}  // namespace omni
