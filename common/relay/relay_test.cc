// SPDX-License-Identifier: Apache-2.0
#include "common/relay/relay.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "bpf/abi.h"

namespace omni {
namespace {

static_assert(kSessionData == OMNI_MSG_DATA && kHandshakeInitiation == OMNI_MSG_INITIATION &&
              kHandshakeResponse == OMNI_MSG_RESPONSE && kCookieReply == OMNI_MSG_COOKIE &&
              kSessionHeaderBytes == sizeof(omni_data_header));

constexpr Instant kStart = Instant(1000s);

TEST(RelayQuota, AllowsAQuarterOfASecondAtOnceAndThenItsRate) {
  RelayQuota quota(1'000'000);
  Instant now = kStart;
  size_t sent = 0;
  while (quota.Take(1000, now)) sent += 1000;
  EXPECT_EQ(sent, 250'000U);
  EXPECT_FALSE(quota.IsFull(now));
  for (int ms = 0; ms < 1000; ++ms) {
    now += 1ms;
    while (quota.Take(500, now)) sent += 500;
  }
  EXPECT_LE(sent, 1'250'000U);
  EXPECT_GE(sent, 1'249'000U);
  EXPECT_TRUE(quota.IsFull(now + 251ms));
}

TEST(RelayQuota, OfALowRateTakesASuperPacketAllTheSame) {
  RelayQuota quota(1000);
  EXPECT_TRUE(quota.Take(65'000, kStart));
  EXPECT_FALSE(quota.Take(65'000, kStart + 10s));
  EXPECT_TRUE(quota.Take(9000, kStart + 10s));
  RelayQuota none(0);
  EXPECT_FALSE(none.Take(1, kStart));
}

TEST(RelayQuota, AnotherRateHoldsFromThenOn) {
  RelayQuota quota(1'000'000);
  while (quota.Take(1000, kStart)) continue;
  quota.SetRate(0);
  EXPECT_FALSE(quota.Take(1000, kStart + 10s));
  quota.SetRate(2'000'000);
  EXPECT_TRUE(quota.Take(500'000, kStart + 10s));
}

// Several workers take from one quota, and together get no more than it.
TEST(RelayQuota, IsSharedByThreads) {
  RelayQuota quota(1'000'000);
  std::atomic<size_t> sent = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10'000; ++n) sent += quota.Take(100, kStart) ? 100 : 0;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sent.load(), 250'000U);
}

}  // namespace
}  // namespace omni
