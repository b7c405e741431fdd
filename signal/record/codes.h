// SPDX-License-Identifier: Apache-2.0
// Why a connection of proto/omni/signal/v1 ends: the codes of its CONNECTION_CLOSE. Plain values.
#pragma once

#include <cstdint>
#include <optional>

#include "omni/signal/v1/signal.pb.h"

namespace omni {

inline constexpr uint64_t kCloseGoingAway = 0;
inline constexpr uint64_t kCloseViolation = 1;
inline constexpr uint64_t kCloseReplaced = 2;
inline constexpr uint64_t kCloseTooSlow = 3;
inline constexpr uint64_t kCloseRefused = 100;  // and more, by the reason

inline uint64_t CloseCodeOf(signal::v1::Refused::Reason reason) { return kCloseRefused + reason; }
inline std::optional<signal::v1::Refused::Reason> RefusalOf(uint64_t code) {
  if (code <= kCloseRefused || code > kCloseRefused + signal::v1::Refused::Reason_MAX) {
    return std::nullopt;
  }
  return static_cast<signal::v1::Refused::Reason>(code - kCloseRefused);
}

}  // namespace omni
