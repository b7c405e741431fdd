// SPDX-License-Identifier: Apache-2.0
#include "tests/lab/wire/impairment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <numeric>

namespace omni {
namespace {

constexpr Instant kBegin = Instant(1s);
constexpr int kFrames = 10'000;

Impairment Of(std::string_view words) {
  const auto out = Impairment::Parse(words);
  EXPECT_TRUE(out.ok()) << out.status();
  return out.value_or(Impairment{});
}

OneWay::Frame FrameNumber(int number) {
  OneWay::Frame out(60);
  out[20] = static_cast<uint8_t>(number >> 8);
  out[21] = static_cast<uint8_t>(number);
  return out;
}

int NumberOf(const OneWay::Frame& frame) { return frame[20] << 8 | frame[21]; }

// Frames 0.. pushed 1 ms apart; the numbers as they came out, all polled every millisecond.
std::vector<int> Through(OneWay& way, int frames) {
  std::vector<int> out;
  for (int ms = 0; ms < frames + 200; ++ms) {
    const Instant now = kBegin + ms * 1ms;
    if (ms < frames) way.Push(FrameNumber(ms), now);
    while (const auto frame = way.Pop(now)) out.push_back(NumberOf(*frame));
  }
  return out;
}

std::vector<int> InOrder(int frames) {
  std::vector<int> out(static_cast<size_t>(frames));
  std::iota(out.begin(), out.end(), 0);
  return out;
}

TEST(OneWay, PassesEverythingInOrderWhenNothingIsWrong) {
  OneWay way(1);
  EXPECT_EQ(Through(way, 100), InOrder(100));
  EXPECT_FALSE(way.next());
}

TEST(OneWay, HoldsAFrameForItsDelay) {
  OneWay way(1);
  way.Set(Of("delay_ms=20"));
  way.Push(FrameNumber(7), kBegin);
  EXPECT_EQ(way.next(), kBegin + 20ms);
  EXPECT_FALSE(way.Pop(kBegin + 19ms));
  EXPECT_EQ(NumberOf(*way.Pop(kBegin + 20ms)), 7);
}

TEST(OneWay, JitterKeepsTheOrder) {
  OneWay way(2);
  way.Set(Of("delay_ms=5 jitter_ms=50"));
  EXPECT_EQ(Through(way, 1000), InOrder(1000));
}

TEST(OneWay, LosesAndDoublesAsOftenAsAsked) {
  OneWay lossy(3);
  lossy.Set(Of("loss=0.1"));
  EXPECT_NEAR(static_cast<double>(Through(lossy, kFrames).size()), kFrames * 0.9, kFrames * 0.02);
  OneWay doubling(4);
  doubling.Set(Of("duplicate=0.2"));
  EXPECT_NEAR(static_cast<double>(Through(doubling, kFrames).size()), kFrames * 1.2,
              kFrames * 0.02);
}

TEST(OneWay, ReordersAsOftenAsAsked) {
  OneWay way(4);
  way.Set(Of("delay_ms=10 reorder=0.05"));
  const std::vector<int> got = Through(way, kFrames);
  EXPECT_EQ(got.size(), static_cast<size_t>(kFrames));
  int late = 0;
  int newest = -1;
  for (const int number : got) {
    late += number < newest ? 1 : 0;
    newest = std::max(newest, number);
  }
  // One that overtakes makes those late that were within the delay before it.
  EXPECT_GT(late, kFrames / 10);
  EXPECT_LT(late, kFrames / 2);
}

TEST(OneWay, CorruptsOneBitBehindTheEthernetHeader) {
  OneWay way(5);
  way.Set(Of("corrupt=1"));
  for (int i = 0; i < 100; ++i) {
    way.Push(FrameNumber(i), kBegin);
    const auto got = way.Pop(kBegin);
    ASSERT_TRUE(got);
    const OneWay::Frame sent = FrameNumber(i);
    int flipped = 0;
    for (size_t at = 0; at < sent.size(); ++at) {
      const int bits = std::popcount(static_cast<uint8_t>(sent[at] ^ (*got)[at]));
      EXPECT_TRUE(bits == 0 || at >= 14);
      flipped += bits;
    }
    EXPECT_EQ(flipped, 1);
  }
}

TEST(OneWay, ARateSpacesFramesAndAFullQueueLosesThem) {
  OneWay way(6);
  way.Set(Of("rate_mbit=1 queue=3"));  // 60 bytes take 480 us
  for (int i = 0; i < 5; ++i) way.Push(FrameNumber(i), kBegin);
  EXPECT_EQ(way.next(), kBegin + 480us);
  int got = 0;
  while (way.Pop(kBegin + 1s)) ++got;
  EXPECT_EQ(got, 3);
}

TEST(OneWay, ABlackHoleSwallowsLargePackets) {
  OneWay way(7);
  way.Set(Of("mtu=1280"));
  way.Push(OneWay::Frame(14 + 1280), kBegin);
  way.Push(OneWay::Frame(14 + 1281), kBegin);
  EXPECT_TRUE(way.Pop(kBegin));
  EXPECT_FALSE(way.Pop(kBegin));
}

TEST(Impairment, RefusesWhatItDoesNotKnow) {
  for (const char* words : {"lost=1", "loss", "loss=", "loss=2", "loss=-1", "loss=nan", "loss=1x",
                            "delay_ms=1e9", "loss=0.1 what"}) {
    EXPECT_FALSE(Impairment::Parse(words).ok()) << words;
  }
  EXPECT_TRUE(Impairment::Parse("").ok());
  EXPECT_TRUE(Impairment::Parse("  loss=1  mtu=1280 ").ok());
}

}  // namespace
}  // namespace omni
