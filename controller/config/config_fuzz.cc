// SPDX-License-Identifier: Apache-2.0
// Any bytes as a configuration file: an error or values within their bounds, never a crash.
#include <cstddef>
#include <cstdint>

#include "common/encoding.h"
#include "common/status.h"
#include "controller/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = omni::ParseConfig(omni::AsString({data, size}), "fuzz.toml");
  if (!config.ok()) return 0;
  OMNI_CHECK(config->mtu == 0 || (config->mtu >= 1280 && config->mtu <= 65475));
  OMNI_CHECK(!config->addresses.empty() && !config->name.empty());
  OMNI_CHECK(config->session.reject_after > config->session.rekey_after);
  return 0;
}
