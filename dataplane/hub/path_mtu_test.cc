// SPDX-License-Identifier: Apache-2.0
// The search against a simulated path: a true size that changes, loss, a delay, on a fake clock.
#include "dataplane/hub/path_mtu.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace omni {
namespace {

using State = PathMtuSearch::State;

class Path {
 public:
  explicit Path(uint32_t largest, uint32_t size, unsigned seed = 1) : size_(size), random_(seed) {
    search.Restart(largest);
  }

  // Lets time pass; `traffic` flows all the while.
  enum class Traffic : uint8_t { kNone, kSmall, kLarge };
  void Run(Duration time, Traffic traffic) {
    for (const Instant end = now + time; now < end;) {
      now += 10ms;
      if (traffic != Traffic::kNone) traffic_.last_data_tx = now;
      // Large packets are answered when they pass, as TCP's are.
      if (traffic == Traffic::kLarge) traffic_.last_large_tx = now;
      const bool passes = traffic == Traffic::kSmall || search.carries() <= size_;
      if (traffic != Traffic::kNone && passes && alive) traffic_.last_rx = now;
      while (!answers_.empty() && answers_.front().at <= now) {
        const uint32_t size = answers_.front().size;
        answers_.pop_front();
        traffic_.last_rx = now;
        Send(search.Answered(size, rtt, now));
      }
      if (++ticks_ % 10 == 0) Send(search.Tick(traffic_, now));
    }
  }
  // Until the search has ended; gives how long that took.
  Duration Search(Traffic traffic = Traffic::kLarge) {
    const Instant began = now;
    while (search.state() != State::kComplete && search.state() != State::kError &&
           now - began < 120s) {
      Run(100ms, traffic);
    }
    while (search.limit() != search.carries() && now - began < 120s) Run(100ms, traffic);
    return now - began;
  }
  void SetSize(uint32_t size) { size_ = size; }

  PathMtuSearch search;
  Instant now = Instant(3600s);
  Duration rtt = 20ms;
  int loss_percent = 0;
  bool alive = true;
  int probes = 0;

 private:
  struct Answer {
    Instant at;
    uint32_t size;
  };
  void Send(const std::vector<uint32_t>& sizes) {
    for (const uint32_t size : sizes) {
      ++probes;
      const bool lost = static_cast<int>(random_() % 100) < loss_percent;
      if (alive && !lost && size <= size_) answers_.push_back({now + rtt, size});
    }
  }

  uint32_t size_;
  PathTraffic traffic_;
  std::deque<Answer> answers_;
  int ticks_ = 0;
  std::mt19937 random_;
};

// Probes of a path that drops two packets of three, whatever their size.
TEST(PathMtuSearch, CongestionIsSeldomTakenForABlackHole) {
  int lowered = 0;
  for (unsigned seed = 1; seed <= 50; ++seed) {
    Path path(1500, 1500, seed);
    path.Search();
    path.loss_percent = 66;
    for (int second = 0; second < 60; ++second) {
      path.Run(1s, Path::Traffic::kLarge);
      if (path.search.carries() < 1500) {
        ++lowered;
        break;
      }
    }
  }
  EXPECT_LE(lowered, 5);
}

TEST(PathMtuSearch, AnIdlePeerIsNotProbed) {
  Path path(1500, 1500);
  path.Run(3600s, Path::Traffic::kNone);
  EXPECT_EQ(path.probes, 0);
  EXPECT_EQ(path.search.state(), State::kBase);
  EXPECT_EQ(path.search.carries(), 1280U);
  EXPECT_EQ(path.search.limit(), 1500U);
}

TEST(PathMtuSearch, TheOrdinaryPathIsFoundInOneRoundTripByTwoProbes) {
  Path path(1500, 1500);
  EXPECT_LE(path.Search(), 200ms);
  EXPECT_EQ(path.probes, 2);
  EXPECT_EQ(path.search.carries(), 1500U);
  EXPECT_EQ(path.search.limit(), 1500U);
}

TEST(PathMtuSearch, SizesOfTunnelsAndMobileNetworksAreFoundExactly) {
  for (const uint32_t size : {1280U, 1358U, 1400U, 1420U, 1460U, 1480U, 1492U, 1500U, 9000U}) {
    Path path(std::max(size, 1500U), size);
    EXPECT_LE(path.Search(), 6s) << size;
    EXPECT_EQ(path.search.carries(), size);
    EXPECT_EQ(path.search.state(), State::kComplete);
  }
}

TEST(PathMtuSearch, APathBelowTheBaseIsAnErrorAndIsUsedAllTheSame) {
  Path path(1500, 1100);
  EXPECT_LE(path.Search(), 10s);
  EXPECT_EQ(path.search.state(), State::kError);
  EXPECT_LE(path.search.carries(), 1100U);
  EXPECT_GT(path.search.carries(), 1092U);
}

TEST(PathMtuSearch, SmallPacketsAloneCauseNoProbesOnceTheSizeIsKnown) {
  Path path(1500, 1500);
  path.Search();
  path.Run(10s, Path::Traffic::kSmall);
  const int before = path.probes;
  path.Run(3600s, Path::Traffic::kSmall);
  EXPECT_EQ(path.probes, before);
}

TEST(PathMtuSearch, ABlackHoleUnderTrafficIsFoundWithinSecondsAndLeft) {
  Path path(1500, 1500);
  path.Search();
  path.Run(30s, Path::Traffic::kLarge);
  path.SetSize(1300);
  const Instant began = path.now;
  while (path.search.carries() > 1300) path.Run(100ms, Path::Traffic::kLarge);
  EXPECT_LE(path.now - began, 5s);
  EXPECT_EQ(path.search.limit(), 1500U);  // what senders know is carried in pieces meanwhile
  path.Search();
  EXPECT_LE(path.search.carries(), 1300U);
  EXPECT_GT(path.search.carries(), 1292U);
  path.SetSize(1500);
  path.Run(60s, Path::Traffic::kLarge);
  EXPECT_EQ(path.search.carries(), 1500U);
}

TEST(PathMtuSearch, RaisesAreTriedEverMoreSeldom) {
  Path path(1500, 1400);
  path.Search();
  path.Run(7200s, Path::Traffic::kSmall);
  const int before = path.probes;
  path.Run(3600s, Path::Traffic::kSmall);
  EXPECT_LE(path.probes - before, 6 * 11);
  path.SetSize(1500);
  path.Run(601s, Path::Traffic::kSmall);
  EXPECT_EQ(path.search.carries(), 1500U);
}

TEST(PathMtuSearch, ADeadPathSaysNothingOfSizes) {
  Path path(1500, 1500);
  path.Search();
  path.alive = false;
  path.Run(120s, Path::Traffic::kLarge);
  EXPECT_EQ(path.search.carries(), 1500U);
  path.alive = true;
  path.Run(10s, Path::Traffic::kLarge);
  EXPECT_EQ(path.search.carries(), 1500U);
  path.search.Restart(1500);
  path.alive = false;
  path.Run(60s, Path::Traffic::kLarge);
  EXPECT_EQ(path.search.state(), State::kBase);
  EXPECT_EQ(path.search.carries(), 1280U);
}

TEST(PathMtuSearch, FollowsTheInterface) {
  Path path(1500, 9000);
  path.Search();
  path.search.SetLargest(1400, path.now);
  EXPECT_EQ(path.search.carries(), 1400U);
  path.search.SetLargest(9000, path.now);
  path.Run(5s, Path::Traffic::kLarge);
  EXPECT_EQ(path.search.carries(), 9000U);
  path.SetSize(4000);
  path.search.Restart(1500);
  path.Search();
  path.search.SetLargest(9000, path.now);
  path.Run(30s, Path::Traffic::kLarge);
  EXPECT_LE(path.search.carries(), 4000U);
  EXPECT_GT(path.search.carries(), 3992U);
}

TEST(PathMtuSearch, AnAnswerThatComesLateOrTwiceDoesNoHarm) {
  Path path(1500, 1500);
  EXPECT_TRUE(path.search.Answered(1400, 1ms, path.now).empty());  // never asked
  EXPECT_TRUE(path.search.Answered(9000, 1ms, path.now).empty());  // larger than the interface
  EXPECT_LE(path.search.carries(), 1500U);
  path.Search();
  EXPECT_TRUE(path.search.Answered(1280, 1ms, path.now).empty());
  EXPECT_EQ(path.search.carries(), 1500U);
}

// Whatever the path is and does: what is said to pass has passed, and in the end the size is found.
TEST(PathMtuSearch, FindsTheSizeOfAnyPath) {
  for (unsigned seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto within = [&](uint32_t low, uint32_t high) {
      return low + random() % (high - low + 1);
    };
    const uint32_t largest = seed % 3 == 0 ? 9000 : 1500;
    uint32_t size = within(600, largest);
    Path path(largest, size, seed);
    path.rtt = Duration(std::chrono::milliseconds(within(1, 250)));
    path.loss_percent = seed % 2 == 0 ? 5 : 0;
    path.Search();
    for (int change = 0; change < 3; ++change) {
      // A size that was lost three times counts as too large until the next raise.
      path.Run(seed % 2 == 0 ? 1300s : 60s, Path::Traffic::kLarge);
      EXPECT_LE(path.search.carries(), size);
      if (path.search.carries() < path.search.limit()) path.Search();
      if (seed % 2 == 1) {
        EXPECT_GT(path.search.carries() + 9, size);
      }
      size = within(600, size);  // a black hole
      path.SetSize(size);
    }
  }
}

}  // namespace
}  // namespace omni
