// SPDX-License-Identifier: Apache-2.0
// HandshakeClock: wall-clock time for initiations that never goes back, not even over restarts:
// peers refuse what is older than the newest that they have seen, and robots without a clock of
// their own start in 1970. A file holds a time that no initiation has reached yet; it is written
// ahead, so that it costs next to nothing. Owned by main(), on the event loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "controller/noise/engine.h"

namespace omni {

class HandshakeClock : public noise::Environment {
 public:
  // Trouble with the file is logged: then the clock of the machine has to do.
  HandshakeClock(std::string file, std::unique_ptr<noise::Environment> base);

  void Random(std::span<uint8_t> out) override { base_->Random(out); }
  uint64_t WallNanos() override;

 private:
  void Read();
  void Reserve(uint64_t until);

  const std::string file_;
  const std::unique_ptr<noise::Environment> base_;
  uint64_t last_ = 0;      // that was given out, or may have been by a former process
  uint64_t reserved_ = 0;  // on disk: nothing from here on was given out
  bool complained_ = false;
};

}  // namespace omni
