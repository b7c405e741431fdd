// SPDX-License-Identifier: Apache-2.0
#include "nucleus/relay/relay.h"

#include <gtest/gtest.h>

namespace omni {
namespace {

using Verdict = Relay::Verdict;

constexpr Instant kStart = Instant(1000s);

RelayParty Party(uint8_t number, uint32_t cluster = 0) {
  RelayParty party{.cluster = cluster, .node = {}};
  party.node.bytes[0] = number;
  return party;
}

std::vector<uint8_t> Data(uint64_t channel, uint64_t counter, size_t size = 1000) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(channel >> (8 * i));
    bytes[8 + i] = static_cast<uint8_t>(counter >> (8 * i));
  }
  return bytes;
}

class RelayTest : public ::testing::Test {
 protected:
  bool Open(uint8_t from, uint8_t to, std::vector<uint64_t> channels,
            Instant expires = kStart + 200s) {
    return relay_.Open(Party(from), Party(to), channels, expires, now_);
  }
  Verdict Take(uint8_t from, uint64_t channel, uint64_t counter, size_t size = 1000) {
    return relay_.Take(Party(from), Data(channel, counter, size), now_).verdict;
  }
  Instant now_ = kStart;
  Relay relay_{{.pair_bytes_per_s = 1'000'000, .total_bytes_per_s = 1'500'000}};
};

TEST_F(RelayTest, AChannelIsForOneSenderAndLeadsToOneReceiver) {
  ASSERT_TRUE(Open(1, 2, {7}));
  const auto decision = relay_.Take(Party(1), Data(7, 0), now_);
  EXPECT_EQ(decision.verdict, Verdict::kForward);
  EXPECT_EQ(decision.to, Party(2).node);
  EXPECT_EQ(Take(3, 7, 1), Verdict::kUnknown);
  EXPECT_EQ(relay_.Take(Party(1, 1), Data(7, 1), now_).verdict, Verdict::kUnknown);
  // The same number for another sender is another channel.
  ASSERT_TRUE(Open(3, 4, {7}));
  EXPECT_EQ(relay_.Take(Party(3), Data(7, 0), now_).to, Party(4).node);
}

TEST_F(RelayTest, AnotherNodeCannotTakeAChannelBeforeItsTimeIsOver) {
  ASSERT_TRUE(Open(1, 2, {7}, kStart + 10s));
  EXPECT_FALSE(Open(1, 3, {8, 7}));
  EXPECT_EQ(Take(1, 8, 0), Verdict::kUnknown);  // all or nothing
  EXPECT_EQ(relay_.channels(), 1U);
  now_ += 11s;
  EXPECT_TRUE(Open(1, 3, {7}));
  EXPECT_EQ(relay_.Take(Party(1), Data(7, 0), now_).to, Party(3).node);
  relay_.Close(Party(2));  // which has nothing left
  EXPECT_EQ(Take(1, 7, 1), Verdict::kForward);
}

TEST_F(RelayTest, OpeningAgainProlongsAndForgetsNoCounter) {
  ASSERT_TRUE(Open(1, 2, {7}, kStart + 10s));
  EXPECT_EQ(Take(1, 7, 5), Verdict::kForward);
  ASSERT_TRUE(Open(1, 2, {7}, kStart + 20s));
  EXPECT_EQ(Take(1, 7, 5), Verdict::kReplayed);
  now_ += 15s;
  EXPECT_EQ(Take(1, 7, 6), Verdict::kForward);
  now_ += 6s;
  EXPECT_EQ(Take(1, 7, 7), Verdict::kUnknown);
  relay_.DropExpired(now_);
  EXPECT_EQ(relay_.channels(), 0U);
}

TEST_F(RelayTest, ShortDatagramsAreMalformed) {
  ASSERT_TRUE(Open(1, 2, {7}));
  for (size_t size = 0; size < kSessionHeaderBytes; ++size) {
    const auto bytes = Data(7, 0);
    EXPECT_EQ(relay_.Take(Party(1), std::span(bytes).first(size), now_).verdict,
              Verdict::kMalformed);
  }
}

TEST_F(RelayTest, APairHasItsQuotaAndAllTogetherHaveTheirs) {
  ASSERT_TRUE(Open(1, 2, {1}));
  ASSERT_TRUE(Open(3, 2, {2}));
  size_t sent[2] = {};
  uint64_t counter = 0;
  for (int ms = 0; ms < 2000; ++ms, now_ += 1ms) {
    for (int i = 0; i < 4; ++i, ++counter) {
      sent[0] += Take(1, 1, counter) == Verdict::kForward ? 1000 : 0;
      sent[1] += Take(3, 2, counter) == Verdict::kForward ? 1000 : 0;
    }
  }
  // Two seconds and a burst of a quarter of one.
  EXPECT_LE(sent[0], 2'250'000U);
  EXPECT_LE(sent[1], 2'250'000U);
  EXPECT_LE(sent[0] + sent[1], 3'375'000U);
  EXPECT_GE(sent[0] + sent[1], 3'300'000U);
  EXPECT_GT(std::min(sent[0], sent[1]), 500'000U);
}

TEST_F(RelayTest, AReplayCostsThePairNothing) {
  ASSERT_TRUE(Open(1, 2, {1}));
  EXPECT_EQ(Take(1, 1, 0), Verdict::kForward);
  for (int i = 0; i < 100'000; ++i) ASSERT_EQ(Take(1, 1, 0), Verdict::kReplayed);
  EXPECT_EQ(Take(1, 1, 1), Verdict::kForward);
  EXPECT_EQ(relay_.bytes(), 2000U);
}

TEST_F(RelayTest, ANodeOpensNoMoreThanItsShare) {
  uint64_t channel = 0;
  bool opened = true;
  while (opened && channel < 1'000'000) {
    std::vector<uint64_t> some(64);
    for (uint64_t& id : some) id = channel++;
    opened = Open(1, 2, some);
  }
  EXPECT_EQ(relay_.channels(), 6144U);
  EXPECT_TRUE(Open(1, 3, {2'000'000}));
  EXPECT_FALSE(Open(1, 3, std::vector<uint64_t>(65)));
  now_ += 201s;  // what has expired makes room
  EXPECT_TRUE(Open(1, 2, {3'000'000}, now_ + 1s));
}

TEST_F(RelayTest, WhoGoesClosesWhatItOpenedAndNothingElse) {
  ASSERT_TRUE(Open(1, 2, {1}));
  ASSERT_TRUE(Open(1, 3, {2}));
  relay_.Close(Party(2));
  EXPECT_EQ(Take(1, 1, 0), Verdict::kUnknown);
  EXPECT_EQ(Take(1, 2, 0), Verdict::kForward);
}

}  // namespace
}  // namespace omni
