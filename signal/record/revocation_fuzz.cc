// SPDX-License-Identifier: Apache-2.0
// Revocations as a hostile node or Nucleus may send them: the bytes as they are, and as the content
// of one that the cluster secret has signed, so that what lies behind the signature is reached.
#include <cstdint>

#include "common/encoding.h"
#include "common/status.h"
#include "signal/record/revocation.h"

namespace omni {
namespace {

void Feed(std::span<const uint8_t> input) {
  static const ClusterKeys keys = *ClusterKeys::Derive("a secret for the fuzzer");
  signal::v1::SignedRevocation message;
  if (message.ParseFromArray(input.data(), static_cast<int>(input.size()))) {
    OMNI_CHECK(!Verify(message, {&keys.key, 1}).ok());
  }
  signal::v1::Revocation content;
  if (!content.ParseFromArray(input.data(), static_cast<int>(input.size()))) return;
  content.set_cluster_id(keys.key.id().ToBytes());
  message.set_revocation(content.SerializeAsString());
  message.set_signature(
      AsString(keys.Sign("omninervous revocation v1", AsBytes(message.revocation()))));
  RevocationList list({keys.key});
  const auto outcome = list.Take(message);
  if (outcome.entry == nullptr) return;
  // What was taken can be said again, and means the same.
  const auto again = Verify(Sign(outcome.entry->revocation, keys), {&keys.key, 1});
  OMNI_CHECK(again.ok() && again->node == outcome.entry->revocation.node &&
             again->reason == outcome.entry->revocation.reason);
  OMNI_CHECK(list.Take(message).verdict == RevocationList::Verdict::kKnown);
}

}  // namespace
}  // namespace omni

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  omni::Feed({data, size});
  return 0;
}
