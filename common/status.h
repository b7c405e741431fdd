// SPDX-License-Identifier: Apache-2.0
// The error idiom of setup and control code: absl::Status with a message of the form "operation
// object: cause". Debian 12's Abseil has no status macros of its own.
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace omni {

// "open /dev/net/tun: Permission denied", with the status code that fits the errno.
absl::Status ErrnoStatus(std::string_view operation_and_object, int error = errno);

// The message as the standard library's type (Debian builds Abseil with a string_view of its own).
inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

// The same status with "context: " in front of its message.
absl::Status Annotate(const absl::Status& status, std::string_view context);

}  // namespace omni

#define OMNI_CONCAT_INNER(a, b) a##b
#define OMNI_CONCAT(a, b) OMNI_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                                                     \
  do {                                                                                  \
    if (absl::Status omni_status = (expression); !omni_status.ok()) return omni_status; \
  } while (false)

#define ASSIGN_OR_RETURN(declaration, expression) \
  OMNI_ASSIGN_OR_RETURN(OMNI_CONCAT(omni_statusor_, __LINE__), declaration, expression)
#define OMNI_ASSIGN_OR_RETURN(temporary, declaration, expression) \
  auto temporary = (expression);                                  \
  if (!temporary.ok()) return temporary.status();                 \
  declaration = *std::move(temporary)

// An invariant of our own code. Never on anything that a peer, the kernel or a file can cause.
#define OMNI_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::omni::CheckFailed(#condition, __FILE__, __LINE__))

namespace omni {
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);
}  // namespace omni
