// SPDX-License-Identifier: Apache-2.0
#include "common/replay_window.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <set>

namespace omni {
namespace {

using Verdict = ReplayVerdict;

// The definition, without any cleverness.
template <uint64_t kWindow>
class NaiveWindow {
 public:
  Verdict Accept(uint64_t counter) {
    if (counter == UINT64_MAX) return Verdict::kReplay;
    const bool newest = seen_.empty() || counter > *seen_.rbegin();
    if (!newest && *seen_.rbegin() - counter >= kWindow) return Verdict::kReplay;
    if (!seen_.insert(counter).second) return Verdict::kReplay;
    return newest ? Verdict::kNewest : Verdict::kInOrder;
  }

 private:
  std::set<uint64_t> seen_;
};

template <uint64_t kWindow>
void AgreesOnRandomOrders() {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 10'000; ++round) {
    ReplayWindow<kWindow> window;
    NaiveWindow<kWindow> naive;
    // From the beginning, from anywhere, and up to the highest there is.
    const std::array<uint64_t, 3> bases = {0, random() >> (random() % 64), UINT64_MAX - 10'000};
    uint64_t base = bases[random() % bases.size()];
    const uint64_t spread = uint64_t{1} << (random() % 16);
    for (int i = 0; i < 40; ++i) {
      const uint64_t counter = base + std::min(random() % spread, UINT64_MAX - base);
      ASSERT_EQ(window.Accept(counter), naive.Accept(counter))
          << "round " << round << " step " << i;
      const uint64_t leap = random() % (3 * kWindow);
      if (random() % 8 == 0 && leap < UINT64_MAX - base) base += leap;
    }
  }
}

TEST(ReplayWindow, RejectsTheSameCounterTwice) {
  ReplayWindow<8192> window;
  EXPECT_EQ(window.Accept(0), Verdict::kNewest);
  EXPECT_EQ(window.Accept(0), Verdict::kReplay);
  EXPECT_EQ(window.Accept(5), Verdict::kNewest);
  EXPECT_EQ(window.Accept(3), Verdict::kInOrder);
  EXPECT_EQ(window.Accept(3), Verdict::kReplay);
}

TEST(ReplayWindow, HoldsExactlyItsSize) {
  ReplayWindow<8192> window;
  EXPECT_EQ(window.Accept(8192), Verdict::kNewest);
  EXPECT_EQ(window.Accept(0), Verdict::kReplay);
  EXPECT_EQ(window.Accept(1), Verdict::kInOrder);
}

TEST(ReplayWindow, TakesTheHighestCountersThatMayOccur) {
  ReplayWindow<8192> unused;
  EXPECT_EQ(unused.Accept(UINT64_MAX), Verdict::kReplay);
  EXPECT_EQ(unused.Accept(0), Verdict::kNewest);
  ReplayWindow<8192> window;
  EXPECT_EQ(window.Accept(UINT64_MAX - 1), Verdict::kNewest);
  EXPECT_EQ(window.Accept(UINT64_MAX - 1), Verdict::kReplay);
  EXPECT_EQ(window.Accept(UINT64_MAX - 2), Verdict::kInOrder);
  EXPECT_EQ(window.Accept(0), Verdict::kReplay);
}

TEST(ReplayWindow, AgreesWithTheDefinitionOnRandomOrders) { AgreesOnRandomOrders<8192>(); }
TEST(ReplayWindow, OfAnotherSizeAgreesAsWell) { AgreesOnRandomOrders<2048>(); }

}  // namespace
}  // namespace omni
