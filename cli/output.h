// SPDX-License-Identifier: Apache-2.0
// In which form a command prints its result: for people or for programs. One global option,
// `--output table|json`.
#pragma once

namespace omni {

enum class OutputFormat { kTable, kJson };

}  // namespace omni
