// SPDX-License-Identifier: Apache-2.0
// Whatever comes off the wire: read without a fault, and what is read lies inside the frame.
#include <vector>

#include "common/status.h"
#include "dataplane/xdp/frame.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<uint8_t> frame(data, data + size);
  const auto view = omni::ParseFrame(frame, 1);
  if (!view || view->payload.empty()) return 0;
  OMNI_CHECK(view->payload.data() >= frame.data());
  OMNI_CHECK(view->payload.data() + view->payload.size() <= frame.data() + frame.size());
  OMNI_CHECK(view->path.local.has_value());
  return 0;
}
