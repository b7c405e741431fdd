// SPDX-License-Identifier: Apache-2.0
#include "common/encoding.h"
#include "common/identity/identity.h"
#include "common/status.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text = omni::AsString({data, size});
  if (const auto key = omni::PeerKey::Parse(text); key.ok()) OMNI_CHECK(key->ToString() == text);
  // The keys themselves as the input, so that the signature check is reached.
  const std::string encoded = "omni1" + omni::Base64Encode({data, size});
  if (const auto key = omni::PeerKey::Parse(encoded); key.ok()) {
    OMNI_CHECK(key->ToString() == encoded);
  }
  return 0;
}
