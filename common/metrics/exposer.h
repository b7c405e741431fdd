// SPDX-License-Identifier: Apache-2.0
// The HTTP listener that Prometheus scrapes. Serves from threads of its own; owned by main().
#pragma once

#include <prometheus/exposer.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace omni {

// Serves http://`listen`/metrics; register collectables with it.
absl::StatusOr<std::unique_ptr<prometheus::Exposer>> StartExposer(const std::string& listen);

}  // namespace omni
