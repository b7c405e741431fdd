// SPDX-License-Identifier: Apache-2.0
// Records as a hostile node or Nucleus may send them: the bytes as they are, and as the content of
// a record that its node has signed, so that what lies behind the signature is reached.
#include <unistd.h>

#include <cstdint>
#include <filesystem>

#include "common/encoding.h"
#include "common/status.h"
#include "signal/record/record.h"

namespace omni {
namespace {

const Identity& SomeIdentity() {
  static const Identity identity = [] {
    const std::string path =
        std::filesystem::temp_directory_path() / ("omni-fuzz-" + std::to_string(getpid()));
    Identity made = *Identity::Create(path);
    std::filesystem::remove_all(path);
    return made;
  }();
  return identity;
}

void Feed(std::span<const uint8_t> input) {
  signal::v1::SignedRecord message;
  if (message.ParseFromArray(input.data(), static_cast<int>(input.size()))) {
    (void)Verify(message, ClusterId());
  }
  signal::v1::NodeRecord content;
  if (!content.ParseFromArray(input.data(), static_cast<int>(input.size()))) return;
  content.set_cluster_id(ClusterId().ToBytes());
  content.set_key(AsString(SomeIdentity().public_key().ToBytes()));
  message.set_record(content.SerializeAsString());
  message.set_signature(
      AsString(SomeIdentity().Sign("omninervous node record v1", AsBytes(message.record()))));
  const auto record = Verify(message, ClusterId());
  if (!record.ok()) return;
  // What was taken can be said again, and means the same.
  const auto again = Verify(Sign(*record, SomeIdentity()), ClusterId());
  OMNI_CHECK(again.ok() && again->candidates == record->candidates &&
             again->addresses == record->addresses && again->routes == record->routes);
}

}  // namespace
}  // namespace omni

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  omni::Feed({data, size});
  return 0;
}
