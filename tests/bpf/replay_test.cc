// SPDX-License-Identifier: Apache-2.0
// The replay window inside the program against the one of user space.
#include <random>

#include "common/replay_window.h"
#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
namespace {

class BpfReplay : public BpfHookTest {
 protected:
  // Whether the program took a keepalive with this counter.
  bool Takes(uint64_t counter) {
    const uint64_t packets = object_->rx()[kRxSlot].packets;
    Receive(MakeFrame({}, Sealed(counter, {})));
    return object_->rx()[kRxSlot].packets != packets;
  }
};

TEST_P(BpfReplay, HoldsExactlyItsSize) {
  EXPECT_TRUE(Takes(OMNI_REPLAY_WINDOW));
  EXPECT_FALSE(Takes(0));
  EXPECT_TRUE(Takes(1));
  EXPECT_FALSE(Takes(1));
  EXPECT_EQ(drops(OMNI_DROP_rx_replayed), 2U);
}

TEST_P(BpfReplay, TakesTheHighestCountersThatMayOccur) {
  const uint64_t last = OMNI_REJECT_AFTER_MESSAGES - 1;
  EXPECT_TRUE(Takes(last));
  EXPECT_FALSE(Takes(last));
  EXPECT_TRUE(Takes(last - 1));
  EXPECT_FALSE(Takes(last + 1));
  EXPECT_EQ(drops(OMNI_DROP_rx_counter_limit), 1U);
}

// 20,000 counters in disorder: runs, jumps near and far, repetitions, the edges of words and
// window.
TEST_P(BpfReplay, AgreesWithUserSpaceInAnyOrder) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  ReplayWindow<OMNI_REPLAY_WINDOW> model;
  uint64_t top = 0;
  for (int i = 0; i < 20'000; ++i) {
    uint64_t counter = 0;
    switch (random() % 8) {
      case 0:
        counter = top + random() % 200;
        break;
      case 1:
        counter = top + random() % (3 * OMNI_REPLAY_WINDOW);
        break;
      case 2:
        counter = top - std::min(top, random() % (2 * OMNI_REPLAY_WINDOW));
        break;
      case 3:
        counter = top - std::min(top, OMNI_REPLAY_WINDOW - 3 + random() % 6);
        break;
      case 4:
        counter = (top / 64 + random() % 3) * 64 - (top >= 64 ? random() % 2 : 0);
        break;
      default:
        counter = top - std::min(top, random() % 64) + random() % 4;
        break;
    }
    const bool taken = model.Accept(counter) != ReplayVerdict::kReplay;
    ASSERT_EQ(Takes(counter), taken) << "counter " << counter << " after " << top;
    if (taken) top = std::max(top, counter);
  }
}

// 20,000 short orders, each on a new window: where it begins is part of what may go wrong.
TEST_P(BpfReplay, AgreesWithUserSpaceFromAnyBeginning) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int order = 0; order < 20'000; ++order) {
    ResetWindow();
    ReplayWindow<OMNI_REPLAY_WINDOW> model;
    const uint64_t base = random() >> (random() % 64);
    const uint64_t spread = 1 + random() % (order % 2 == 0 ? 8 : 3 * OMNI_REPLAY_WINDOW);
    for (int i = 0; i < 8; ++i) {
      const uint64_t counter =
          std::min<uint64_t>(base, OMNI_REJECT_AFTER_MESSAGES / 2) + random() % spread;
      const bool taken = model.Accept(counter) != ReplayVerdict::kReplay;
      ASSERT_EQ(Takes(counter), taken) << "counter " << counter << " from " << base;
    }
  }
}

TEST_P(BpfReplay, DoesNotMoveOnAWrongTag) {
  Bytes forged = Sealed(1'000'000, {});
  forged[20] ^= 1;
  Receive(MakeFrame({}, forged));
  EXPECT_TRUE(Takes(0));
}

TEST_P(BpfReplay, RefusesAWindowThatBecameAnothers) {
  ASSERT_TRUE(object_->ResetWindow(kRxSlot, kRxId + 1).ok());
  EXPECT_FALSE(Takes(0));
}

OMNI_AT_BOTH_HOOKS(BpfReplay);

}  // namespace
}  // namespace omni::bpf_testing
