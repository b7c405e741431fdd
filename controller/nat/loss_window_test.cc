// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/loss_window.h"

#include <gtest/gtest.h>

namespace omni {
namespace {

using Outcome = LossWindow::Outcome;

class LossWindowTest : public ::testing::Test {
 protected:
  void Add(Outcome outcome, int times) {
    for (int i = 0; i < times; ++i) window_.Add(outcome, now_ += 25s);
  }
  LossWindow window_;
  Instant now_ = Instant(1000s);
};

TEST_F(LossWindowTest, NothingIsKnownBeforeTheFirstEcho) {
  EXPECT_EQ(window_.Get(now_).samples, 0U);
  EXPECT_EQ(window_.Get(now_).percent(), 0);
}

TEST_F(LossWindowTest, TellsThePercentageAndOfHowMany) {
  Add(Outcome::kAnswered, 6);
  Add(Outcome::kLost, 2);
  EXPECT_EQ(window_.Get(now_).samples, 8U);
  EXPECT_EQ(window_.Get(now_).lost, 2U);
  EXPECT_EQ(window_.Get(now_).percent(), 25);
}

TEST_F(LossWindowTest, OnlyTheLatestCount) {
  Add(Outcome::kLost, 100);
  Add(Outcome::kAnswered, 48);
  EXPECT_EQ(window_.Get(now_).samples, 64U);
  EXPECT_EQ(window_.Get(now_).percent(), 25);
  Add(Outcome::kAnswered, 16);
  EXPECT_EQ(window_.Get(now_).lost, 0U);
}

TEST_F(LossWindowTest, AnotherPathAndALongRestBeginAnew) {
  Add(Outcome::kLost, 5);
  window_.Clear();
  EXPECT_EQ(window_.Get(now_).samples, 0U);
  Add(Outcome::kLost, 1);
  EXPECT_EQ(window_.Get(now_ + 301s).samples, 0U) << "old news";
  window_.Add(Outcome::kAnswered, now_ + 301s);
  EXPECT_EQ(window_.Get(now_ + 301s).samples, 1U);
  EXPECT_EQ(window_.Get(now_ + 301s).lost, 0U);
}

}  // namespace
}  // namespace omni
