// SPDX-License-Identifier: Apache-2.0
// The test double of Environment: the same seed gives the same run, and the wall clock says what
// the test sets.
#pragma once

#include <sodium.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "controller/noise/engine.h"

namespace omni::noise {

class FakeEnvironment : public Environment {
 public:
  explicit FakeEnvironment(uint64_t seed) { std::memcpy(seed_.data(), &seed, sizeof(seed)); }

  void Random(std::span<uint8_t> out) override {
    ++calls_;
    std::memcpy(seed_.data() + sizeof(uint64_t), &calls_, sizeof(calls_));
    randombytes_buf_deterministic(out.data(), out.size(), seed_.data());
  }
  uint64_t WallNanos() override { return wall_nanos_; }
  void SetWallNanos(uint64_t nanos) { wall_nanos_ = nanos; }

 private:
  std::array<uint8_t, randombytes_SEEDBYTES> seed_{};
  uint64_t calls_ = 0;
  uint64_t wall_nanos_ = 1'700'000'000'000'000'000;
};

}  // namespace omni::noise
