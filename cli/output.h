// SPDX-License-Identifier: Apache-2.0
// In which form a command prints its result: for people or for programs. One global option,
// `--output table|json`.
#pragma once

#include <string>
#include <string_view>

namespace omni {

enum class OutputFormat { kTable, kJson };

// A JSON string, for the commands whose result is no protobuf message.
std::string JsonQuote(std::string_view text);

}  // namespace omni
