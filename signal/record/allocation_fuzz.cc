// SPDX-License-Identifier: Apache-2.0
// Allocations as a hostile Nucleus, wishes as a hostile node may send them.
#include <cstdint>

#include "common/status.h"
#include "signal/record/allocation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace omni;
  signal::v1::Allocated allocated;
  if (allocated.ParseFromArray(data, static_cast<int>(size))) {
    const auto addresses = ReadAllocated(allocated);
    if (addresses.ok()) {
      OMNI_CHECK(addresses->size() <= 2);
      for (const InterfaceAddress& own : *addresses) {
        OMNI_CHECK(IsPrivateNetwork({MaskTo(own.address, own.length), own.length}));
      }
      const auto again = ReadAllocated(AllocatedMessage(*addresses));
      OMNI_CHECK(again.ok() && *again == *addresses);
    }
  }
  signal::v1::Allocate wish;
  if (wish.ParseFromArray(data, static_cast<int>(size))) {
    const auto wanted = ReadWanted(wish);
    OMNI_CHECK(!wanted.ok() || wanted->size() <= kMaxWantedAddresses);
  }
  return 0;
}
