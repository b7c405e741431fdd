// SPDX-License-Identifier: Apache-2.0
// What parses must print the same text again: there is one text for one value. Half of the inputs
// get a right checksum, so that the lines behind it are reached.
#include <fmt/format.h>
#include <sodium.h>

#include "common/encoding.h"
#include "common/identity/key_file.h"
#include "common/status.h"

namespace omni {
namespace {

void ParseBoth(const std::string& text) {
  if (const auto file = ParseIdentityKeyFile(text); file.ok()) OMNI_CHECK(Format(*file) == text);
  if (const auto file = ParseStaticKeyFile(text); file.ok()) OMNI_CHECK(Format(*file) == text);
}

}  // namespace
}  // namespace omni

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string text = omni::AsString({data, size});
  omni::ParseBoth(text);
  std::array<uint8_t, 16> hash{};
  crypto_generichash(hash.data(), hash.size(), data, size, nullptr, 0);
  text += fmt::format("checksum {}\n", omni::HexEncode(hash));
  omni::ParseBoth(text);
  return 0;
}
