// SPDX-License-Identifier: Apache-2.0
// Messages of a controller that is broken or hostile: parsed, and read into values.
#include <cstdint>

#include "dataplane/api/convert.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const int length = static_cast<int>(size - 1);
  if ((data[0] & 4) != 0) {
    omni::v1::OpenRelayRequest request;
    if (request.ParseFromArray(data + 1, length)) (void)omni::ReadRelay(request);
  } else if ((data[0] & 2) != 0) {
    omni::v1::PacketOut packet;
    if (packet.ParseFromArray(data + 1, length)) (void)omni::ReadControlPath(packet);
  } else if ((data[0] & 1) != 0) {
    omni::v1::ApplyStateRequest request;
    if (request.ParseFromArray(data + 1, length)) (void)omni::ReadStateChange(request);
  } else {
    omni::v1::InstallSessionRequest request;
    if (request.ParseFromArray(data + 1, length)) (void)omni::ReadSession(request);
  }
  return 0;
}
