// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string_view>

#include "nucleus/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // SAFETY: char and unsigned char may alias.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)omni::ParseNucleusConfig(text, "fuzz.toml").status();
  return 0;
}
