// SPDX-License-Identifier: Apache-2.0
// Tap: one end of the wire, an Ethernet device in a network namespace whose frames this process
// carries. It is gone when the process is.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace omni {

class Tap {
 public:
  // LIMIT: a frame of a 9,000-byte MTU with room to spare; a TAP without offloads has none larger.
  static constexpr size_t kMaxFrame = 16384;

  // `where`: "NAMESPACE/DEVICE", a namespace that `ip netns` made.
  static absl::StatusOr<Tap> Open(const std::string& where);
  Tap(Tap&& other) noexcept;
  Tap& operator=(Tap&&) = delete;
  ~Tap();

  int fd() const { return fd_; }
  // The part of `buffer` that holds the next frame; empty when there is none.
  std::span<const uint8_t> Read(std::span<uint8_t> buffer) const;
  // A device that is down takes nothing, as a cable without a machine behind it.
  void Write(std::span<const uint8_t> frame) const;

 private:
  explicit Tap(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace omni
