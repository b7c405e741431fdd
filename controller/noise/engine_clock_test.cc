// SPDX-License-Identifier: Apache-2.0
// Which initiations are new: copies that come by several ways, and clocks that are wrong.
#include <gtest/gtest.h>

#include <array>

#include "controller/noise/test_node.h"

namespace omni::noise {
namespace {

using Only = std::vector<FailureReason>;

std::vector<FailureReason> Reasons(const Output& out) {
  std::vector<FailureReason> reasons;
  for (const Failure& failure : out.failures) reasons.push_back(failure.reason);
  return reasons;
}

class EngineClockTest : public ::testing::Test {
 protected:
  EngineClockTest() {
    EXPECT_TRUE(a_.Know(b_).ok());
    EXPECT_TRUE(b_.Know(a_).ok());
  }
  std::vector<uint8_t> InitiationFromA(Instant now = kStart) {
    return a_.engine.Initiate(b_.id, now).datagrams.at(0).bytes;
  }
  // Everything up to the response, which is returned.
  std::vector<uint8_t> ResponseFromB(Instant now = kStart) {
    return b_.engine.OnDatagram(InitiationFromA(now), a_.endpoint, now).datagrams.at(0).bytes;
  }

  TestNode a_{1};
  TestNode b_{2};
  const Endpoint stranger_ = *Endpoint::Parse("198.51.100.66:6666");
};

TEST_F(EngineClockTest, TheNewestInitiationByAnotherWayIsADuplicateAndAnOlderOneAReplay) {
  const auto first = InitiationFromA();
  const auto again = a_.engine.OnTimer(kStart + 10s).datagrams.at(0).bytes;
  ASSERT_NE(first, again);
  ASSERT_EQ(b_.engine.OnDatagram(first, a_.endpoint, kStart).sessions.size(), 1U);
  EXPECT_EQ(Reasons(b_.engine.OnDatagram(first, stranger_, kStart)),
            Only{FailureReason::kDuplicate})
      << "at once, too: it is not the next one that came too fast";
  ASSERT_EQ(b_.engine.OnDatagram(again, a_.endpoint, kStart + 10s).sessions.size(), 1U);
  EXPECT_EQ(Reasons(b_.engine.OnDatagram(again, stranger_, kStart + 11s)),
            Only{FailureReason::kDuplicate});
  const auto old = b_.engine.OnDatagram(first, a_.endpoint, kStart + 12s);
  EXPECT_EQ(Reasons(old), Only{FailureReason::kReplay});
  EXPECT_TRUE(old.datagrams.empty() && old.sessions.empty());
}

TEST_F(EngineClockTest, ClocksThatAreYearsApartDoNotMatter) {
  a_.environment.SetWallNanos(0);
  b_.environment.SetWallNanos(uint64_t{4'000'000'000} * 1'000'000'000);
  for (const auto& [from, to] : {std::pair(&a_, &b_), std::pair(&b_, &a_)}) {
    const Instant now = kStart + (from == &a_ ? 0s : 60s);
    const auto call = from->engine.Initiate(to->id, now).datagrams.at(0).bytes;
    const auto answer = to->engine.OnDatagram(call, from->endpoint, now);
    ASSERT_EQ(answer.sessions.size(), 1U);
    EXPECT_EQ(
        from->engine.OnDatagram(answer.datagrams.at(0).bytes, to->endpoint, now).sessions.size(),
        1U);
  }
}

TEST_F(EngineClockTest, AClockThatIsSetBackWhileTheEngineRunsDoesNotMatter) {
  ASSERT_EQ(a_.engine.OnDatagram(ResponseFromB(), b_.endpoint, kStart).sessions.size(), 1U);
  a_.environment.SetWallNanos(5);
  const auto response = ResponseFromB(kStart + 120s);
  EXPECT_EQ(a_.engine.OnDatagram(response, b_.endpoint, kStart + 120s).sessions.size(), 1U);
}

// What docs/PROTOCOL.md says of a machine without a clock of its own.
TEST_F(EngineClockTest, AfterARestartWithAnEarlierClockOnlyThePeerCanBegin) {
  ASSERT_EQ(a_.engine.OnDatagram(ResponseFromB(), b_.endpoint, kStart).sessions.size(), 1U);
  TestNode reborn(1);  // the same keys
  std::array<uint8_t, 8> other_numbers{};
  reborn.environment.Random(other_numbers);
  reborn.environment.SetWallNanos(5);
  ASSERT_EQ(reborn.public_key, a_.public_key);
  ASSERT_TRUE(reborn.Know(b_).ok());
  const auto call = reborn.engine.Initiate(b_.id, kStart + 60s).datagrams.at(0).bytes;
  EXPECT_EQ(Reasons(b_.engine.OnDatagram(call, a_.endpoint, kStart + 60s)),
            Only{FailureReason::kReplay});
  const auto back = b_.engine.Initiate(a_.id, kStart + 61s).datagrams.at(0).bytes;
  const auto answer = reborn.engine.OnDatagram(back, b_.endpoint, kStart + 61s);
  ASSERT_EQ(answer.sessions.size(), 1U);
  EXPECT_EQ(
      b_.engine.OnDatagram(answer.datagrams.at(0).bytes, a_.endpoint, kStart + 61s).sessions.size(),
      1U);
}

}  // namespace
}  // namespace omni::noise
