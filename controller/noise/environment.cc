// SPDX-License-Identifier: Apache-2.0
#include <sodium.h>

#include "common/status.h"
#include "controller/noise/engine.h"

namespace omni::noise {
namespace {

class LibsodiumEnvironment : public Environment {
 public:
  LibsodiumEnvironment() { OMNI_CHECK(sodium_init() >= 0); }
  void Random(std::span<uint8_t> out) override { randombytes_buf(out.data(), out.size()); }
  uint64_t WallNanos() override { return omni::WallNanos(); }
};

}  // namespace

std::unique_ptr<Environment> SystemEnvironment() {
  return std::make_unique<LibsodiumEnvironment>();
}

}  // namespace omni::noise
