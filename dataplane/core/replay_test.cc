// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/replay.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace omni {
namespace {

using Verdict = ReplayWindow::Verdict;

// The definition, without any cleverness.
class NaiveWindow {
 public:
  Verdict Accept(uint64_t counter) {
    const bool newest = seen_.empty() || counter > *seen_.rbegin();
    if (!newest && *seen_.rbegin() - counter >= OMNI_REPLAY_WINDOW) return Verdict::kReplay;
    if (!seen_.insert(counter).second) return Verdict::kReplay;
    return newest ? Verdict::kNewest : Verdict::kInOrder;
  }

 private:
  std::set<uint64_t> seen_;
};

TEST(ReplayWindow, RejectsTheSameCounterTwice) {
  ReplayWindow window;
  EXPECT_EQ(window.Accept(0), Verdict::kNewest);
  EXPECT_EQ(window.Accept(0), Verdict::kReplay);
  EXPECT_EQ(window.Accept(5), Verdict::kNewest);
  EXPECT_EQ(window.Accept(3), Verdict::kInOrder);
  EXPECT_EQ(window.Accept(3), Verdict::kReplay);
}

TEST(ReplayWindow, HoldsExactlyItsSize) {
  ReplayWindow window;
  EXPECT_EQ(window.Accept(OMNI_REPLAY_WINDOW), Verdict::kNewest);
  EXPECT_EQ(window.Accept(0), Verdict::kReplay);
  EXPECT_EQ(window.Accept(1), Verdict::kInOrder);
}

TEST(ReplayWindow, TakesTheHighestCountersThatMayOccur) {
  ReplayWindow window;
  const uint64_t last = OMNI_REJECT_AFTER_MESSAGES - 1;
  EXPECT_EQ(window.Accept(last), Verdict::kNewest);
  EXPECT_EQ(window.Accept(last), Verdict::kReplay);
  EXPECT_EQ(window.Accept(last - 1), Verdict::kInOrder);
}

TEST(ReplayWindow, AgreesWithTheDefinitionOnRandomOrders) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 10'000; ++round) {
    ReplayWindow window;
    NaiveWindow naive;
    uint64_t base = random() % 3 == 0 ? random() >> 1 : 0;
    const uint64_t spread = uint64_t{1} << (random() % 16);
    for (int i = 0; i < 40; ++i) {
      const uint64_t counter = base + random() % spread;
      ASSERT_EQ(window.Accept(counter), naive.Accept(counter))
          << "round " << round << " step " << i;
      if (random() % 8 == 0) base += random() % (3 * OMNI_REPLAY_WINDOW);
    }
  }
}

}  // namespace
}  // namespace omni
