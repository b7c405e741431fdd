// SPDX-License-Identifier: Apache-2.0
// The window of a relayed channel inside the program against the one of user space.
#include <random>

#include "common/replay_window.h"
#include "tests/bpf/relay_fixture.h"

namespace omni::bpf_testing {
namespace {

class BpfRelayWindow : public RelayTest {};

// 20,000 counters in disorder: runs, jumps near and far, repetitions, the edges of words and
// window.
TEST_P(BpfRelayWindow, AgreesWithUserSpaceInAnyOrder) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  constexpr uint64_t kWindow = OMNI_STEER_RELAY_WINDOW;
  ReplayWindow<OMNI_STEER_RELAY_WINDOW> model;
  uint64_t top = 0;
  for (int i = 0; i < 20'000; ++i) {
    uint64_t counter = top - std::min(top, random() % 64) + random() % 4;
    switch (random() % 8) {
      case 0:
        counter = top + random() % 200;
        break;
      case 1:
        counter = top + random() % (3 * kWindow);
        break;
      case 2:
        counter = top - std::min(top, random() % (2 * kWindow));
        break;
      case 3:
        counter = top - std::min(top, kWindow - 3 + random() % 6);
        break;
      case 4:
        counter = (top / 64 + random() % 3) * 64 - (top >= 64 ? random() % 2 : 0);
        break;
      default:
        break;
    }
    const bool taken = model.Accept(counter) != ReplayVerdict::kReplay;
    ASSERT_EQ(Sends(counter, 40), taken) << "counter " << counter << " after " << top;
    if (taken) top = std::max(top, counter);
  }
}

// Short orders, each on a new window: where it begins is part of what may go wrong.
TEST_P(BpfRelayWindow, AgreesWithUserSpaceFromAnyBeginning) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int order = 0; order < 5'000; ++order) {
    steer_->RemoveRelayWindow(kChannel);
    ASSERT_TRUE(steer_->AddRelayWindow(kChannel));
    ReplayWindow<OMNI_STEER_RELAY_WINDOW> model;
    const uint64_t base = random() >> (random() % 64);
    const uint64_t spread = 1 + random() % (order % 2 == 0 ? 8 : 3 * OMNI_STEER_RELAY_WINDOW);
    for (int i = 0; i < 8; ++i) {
      const uint64_t counter = base + std::min(random() % spread, ~uint64_t{0} - base);
      ASSERT_EQ(Sends(counter, 40), model.Accept(counter) != ReplayVerdict::kReplay)
          << counter << " from " << base;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, BpfRelayWindow, testing::Values(4, 6), FamilyName);

}  // namespace
}  // namespace omni::bpf_testing
