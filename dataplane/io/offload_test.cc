// SPDX-License-Identifier: Apache-2.0
// When an offload is given up and tried again, and what is told of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "dataplane/io/kernel_offload.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

// Uses until the next one that may try.
uint32_t UsesWithout(OffloadBackoff& backoff) {
  uint32_t uses = 0;
  while (!backoff.MayTry()) ++uses;
  return uses;
}

void RefuseInARow(OffloadBackoff& backoff, uint32_t times) {
  for (uint32_t i = 0; i < times; ++i) backoff.OnRefused(EIO);
}

TEST(OffloadBackoff, TriesUntilItWasRefusedSomeTimesInARow) {
  OffloadBackoff backoff;
  for (int i = 0; i < 10; ++i) {
    RefuseInARow(backoff, OffloadBackoff::kRefusalsBeforePause - 1);
    EXPECT_TRUE(backoff.MayTry());
    backoff.OnTaken();
  }
  EXPECT_FALSE(backoff.is_pausing());
  RefuseInARow(backoff, OffloadBackoff::kRefusalsBeforePause);
  EXPECT_TRUE(backoff.is_pausing());
  EXPECT_EQ(UsesWithout(backoff), OffloadBackoff::kFirstPause);
}

TEST(OffloadBackoff, PausesGrowToALimitAndOneSuccessEndsThem) {
  OffloadBackoff backoff;
  RefuseInARow(backoff, OffloadBackoff::kRefusalsBeforePause);
  for (uint32_t pause = OffloadBackoff::kFirstPause; pause < OffloadBackoff::kLongestPause;
       pause *= 2) {
    EXPECT_EQ(UsesWithout(backoff), pause);
    backoff.OnRefused(EIO);
  }
  EXPECT_EQ(UsesWithout(backoff), OffloadBackoff::kLongestPause);
  backoff.OnRefused(EIO);
  EXPECT_EQ(UsesWithout(backoff), OffloadBackoff::kLongestPause);
  EXPECT_TRUE(backoff.is_pausing());
  backoff.OnTaken();
  EXPECT_FALSE(backoff.is_pausing());
  EXPECT_EQ(UsesWithout(backoff), 0U);
  RefuseInARow(backoff, OffloadBackoff::kRefusalsBeforePause);
  EXPECT_EQ(UsesWithout(backoff), OffloadBackoff::kFirstPause);
}

TEST(OffloadByName, KnowsEveryNameInBothSpellings) {
  EXPECT_EQ(OffloadByName("udp-gso"), KernelOffload::kUdpGso);
  EXPECT_EQ(OffloadByName("tun_udp_coalescing"), KernelOffload::kTunUdpCoalescing);
  EXPECT_FALSE(OffloadByName(""));
  EXPECT_FALSE(OffloadByName("udp"));
}

TEST(OffloadReport, SaysWhatWasFoundAndWhatFailsNow) {
  OffloadFindings found;
  found[KernelOffload::kUdpGso].reason = "self-test passed";
  found[KernelOffload::kTunUso] = {.active = false, .reason = "switched off"};
  OffloadBackoff first;
  OffloadBackoff second;
  OffloadReport report(found);
  report.Watch(KernelOffload::kUdpGso, &first);
  report.Watch(KernelOffload::kUdpGso, &second);
  const auto gso = [&] { return report.Describe().at(0); };

  EXPECT_EQ(gso().name, "udp_gso");
  EXPECT_TRUE(gso().active);
  EXPECT_EQ(gso().reason, "self-test passed");
  EXPECT_FALSE(report.Describe().at(3).active);
  EXPECT_EQ(report.Describe().at(3).reason, "switched off");

  RefuseInARow(second, OffloadBackoff::kRefusalsBeforePause);
  EXPECT_FALSE(gso().active);
  EXPECT_EQ(gso().refusals, OffloadBackoff::kRefusalsBeforePause);
  EXPECT_THAT(gso().reason, HasSubstr("failed: refused by the kernel: Input/output error"));
  second.OnTaken();
  EXPECT_TRUE(gso().active);
  EXPECT_THAT(gso().reason, HasSubstr("self-test passed; refused 3 times"));
}

}  // namespace
}  // namespace omni
