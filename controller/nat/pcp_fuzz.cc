// SPDX-License-Identifier: Apache-2.0
// Answers of a router to a PCP request.
#include <cstddef>
#include <cstdint>

#include "common/status.h"
#include "controller/nat/pcp.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto grant = omni::ReadPcpMapResponse({data, size}, 51900, {});
  OMNI_CHECK(!grant.ok() || (grant->outer.is_set() && grant->outer.port != 0));
  return 0;
}
