// SPDX-License-Identifier: Apache-2.0
// A payload that parses must mean the same after it was encoded again.
#include <algorithm>

#include "common/status.h"
#include "controller/noise/payload.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace omni::noise;
  const auto check = [](std::span<const uint8_t> bytes) {
    if (const auto p = ParseInitiationPayload(bytes)) {
      OMNI_CHECK(ParseInitiationPayload(Encode(*p)) == *p);
    }
    if (const auto p = ParseResponsePayload(bytes)) {
      OMNI_CHECK(ParseResponsePayload(Encode(*p)) == *p);
    }
  };
  check({data, size});
  PayloadBytes padded{};
  std::copy_n(data, std::min(size, padded.size()), padded.begin());
  check(padded);
  return 0;
}
