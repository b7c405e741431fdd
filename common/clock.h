// SPDX-License-Identifier: Apache-2.0
// Monotonic time that also counts while the machine sleeps (CLOCK_BOOTTIME): a session must not
// outlive its reject time because a robot was suspended. Pure code takes an Instant as an argument;
// only loops call Now().
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

namespace omni {

struct BootClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<BootClock>;
  static constexpr bool is_steady = true;

  static time_point now() noexcept {
    timespec ts{};
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return time_point(std::chrono::seconds(ts.tv_sec) + std::chrono::nanoseconds(ts.tv_nsec));
  }
};

using Instant = BootClock::time_point;
using Duration = BootClock::duration;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""ns;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;

inline Instant Now() { return BootClock::now(); }

// Wall-clock time, for numbers that should grow over restarts as well. It may be set back.
inline uint64_t WallNanos() noexcept {
  timespec ts{};
  clock_gettime(CLOCK_REALTIME, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(ts.tv_nsec);
}

}  // namespace omni
