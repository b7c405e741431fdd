// SPDX-License-Identifier: Apache-2.0
#include "controller/core/handshake_clock.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/file.h"
#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: a write in ten minutes at most; who loses the file and has a right clock is refused by its
// peers for no longer than twice that.
constexpr uint64_t kAhead = uint64_t{600} * 1'000'000'000;
// LIMIT: twenty digits and a newline.
constexpr size_t kMaxFile = 32;

}  // namespace

HandshakeClock::HandshakeClock(std::string file, std::unique_ptr<noise::Environment> base)
    : file_(std::move(file)), base_(std::move(base)) {
  Read();
}

void HandshakeClock::Read() {
  const auto content = ReadFile(file_, kMaxFile, FileAccess::kOwnerOnly);
  if (absl::IsNotFound(content.status())) return;
  std::string why = content.ok() ? "it holds no time" : std::string(Message(content.status()));
  if (content.ok()) {
    uint64_t value = 0;
    const char* end = content->data() + content->size();
    const auto [stop, error] = std::from_chars(content->data(), end, value);
    // Far enough from the end of all times that nothing overflows.
    if (error == std::errc() && stop != end && *stop == '\n' && value < UINT64_MAX / 2) {
      last_ = reserved_ = value;
      return;
    }
  }
  spdlog::warn("{}: left out: {}; where this machine's clock was set back, peers refuse its calls",
               file_, why);
}

uint64_t HandshakeClock::WallNanos() {
  last_ = std::max(base_->WallNanos(), last_);
  if (last_ >= reserved_) Reserve(last_ + kAhead);
  return last_;
}

void HandshakeClock::Reserve(uint64_t until) {
  reserved_ = until;  // also when it cannot be written: the next try is as far away
  const absl::Status written =
      WriteFileAtomically(file_, fmt::format("{}\n", until), 0600, Overwrite::kYes);
  if (written.ok() || std::exchange(complained_, true)) return;
  spdlog::warn("{}; after a restart with a clock that was set back, peers refuse our calls",
               Message(written));
}

}  // namespace omni
