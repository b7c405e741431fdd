// SPDX-License-Identifier: Apache-2.0
#include "controller/core/handshake_clock.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "controller/core/testing.h"
#include "controller/noise/fake_environment.h"

namespace omni {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

class HandshakeClockTest : public ::testing::Test {
 protected:
  // Another process on a machine whose clock says this.
  void Start(uint64_t wall) {
    auto base = std::make_unique<noise::FakeEnvironment>(1);
    base_ = base.get();
    base_->SetWallNanos(wall);
    clock_ = std::make_unique<HandshakeClock>(file_, std::move(base));
  }
  void Write(const std::string& text, mode_t mode = 0600) {
    std::ofstream(file_) << text;
    ASSERT_EQ(chmod(file_.c_str(), mode), 0);
  }

  TestDirectory directory_;
  const std::string file_ = directory_.path() + "/clock";
  noise::FakeEnvironment* base_ = nullptr;
  std::unique_ptr<HandshakeClock> clock_;
};

TEST_F(HandshakeClockTest, IsTheMachinesClockAtFirst) {
  Start(1000 * kSecond);
  EXPECT_EQ(clock_->WallNanos(), 1000 * kSecond);
  base_->SetWallNanos(1001 * kSecond);
  EXPECT_EQ(clock_->WallNanos(), 1001 * kSecond);
  base_->SetWallNanos(5);
  EXPECT_EQ(clock_->WallNanos(), 1001 * kSecond) << "it does not go back";
}

TEST_F(HandshakeClockTest, GoesOnAfterARestartThatSetTheClockBack) {
  Start(1000 * kSecond);
  uint64_t newest = clock_->WallNanos();
  for (uint64_t s = 0; s < 5000; s += 100) {
    base_->SetWallNanos((1000 + s) * kSecond);
    newest = clock_->WallNanos();
  }
  Start(5);
  EXPECT_GE(clock_->WallNanos(), newest);
  EXPECT_LE(clock_->WallNanos(), newest + 600 * kSecond);
  // And over many of them, as in a loop of crashes.
  for (int i = 0; i < 100; ++i) {
    newest = clock_->WallNanos();
    Start(5);
    ASSERT_GE(clock_->WallNanos(), newest);
  }
}

TEST_F(HandshakeClockTest, WritesOnceInTenMinutes) {
  Start(1000 * kSecond);
  (void)clock_->WallNanos();
  ASSERT_EQ(unlink(file_.c_str()), 0);
  base_->SetWallNanos(1599 * kSecond);
  (void)clock_->WallNanos();
  EXPECT_NE(access(file_.c_str(), F_OK), 0);
  base_->SetWallNanos(1600 * kSecond);
  (void)clock_->WallNanos();
  EXPECT_EQ(access(file_.c_str(), F_OK), 0);
}

TEST_F(HandshakeClockTest, WhatIsNoTimeIsLeftOut) {
  for (const char* text :
       {"", "yesterday\n", "12", "99999999999999999999\n", "-5\n", "18446744073709551615\n"}) {
    Write(text);
    Start(1000 * kSecond);
    EXPECT_EQ(clock_->WallNanos(), 1000 * kSecond) << text;
  }
  Write("2000000000000\n", 0644);
  Start(1000 * kSecond);
  EXPECT_EQ(clock_->WallNanos(), 1000 * kSecond) << "anybody could have written it";
  Write("2000000000000\n");
  Start(1000 * kSecond);
  EXPECT_EQ(clock_->WallNanos(), 2000 * kSecond);
}

TEST_F(HandshakeClockTest, WithoutADiskItIsStillAClock) {
  clock_ = nullptr;
  auto base = std::make_unique<noise::FakeEnvironment>(1);
  base->SetWallNanos(7);
  HandshakeClock clock("/proc/no/such/place", std::move(base));
  EXPECT_EQ(clock.WallNanos(), 7U);
}

}  // namespace
}  // namespace omni
