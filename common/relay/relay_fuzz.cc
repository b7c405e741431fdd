// SPDX-License-Identifier: Apache-2.0
// Any datagram, of any length, for a channel that is open: never twice, never beyond the quota.
#include <cstdlib>
#include <set>

#include "common/relay/relay.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace std::chrono_literals;
  omni::RelayedChannel channel{.window = {}, .pair = std::make_shared<omni::RelayQuota>(1'000'000)};
  omni::RelayQuota total(2'000'000);
  omni::Instant now(1000s);
  std::set<uint64_t> seen;
  size_t bytes = 0;
  // Each datagram: its length, then it.
  for (std::span<const uint8_t> rest(data, size); !rest.empty();) {
    const auto datagram = rest.subspan(1, std::min<size_t>(rest[0], rest.size() - 1));
    rest = rest.subspan(1 + datagram.size());
    now += 1us;
    if (omni::JudgeRelayed(datagram, channel, total, now) != omni::RelayVerdict::kForward) continue;
    if (datagram.size() < omni::kSessionHeaderBytes) abort();
    uint64_t counter = 0;
    for (size_t i = 8; i-- > 0;) counter = counter << 8U | datagram[8 + i];
    if (!seen.insert(counter).second) abort();
    bytes += datagram.size();
    // A quarter of a second, and what has gone by: a byte a microsecond.
    if (bytes > 250'000 + static_cast<size_t>((now - omni::Instant(1000s)) / 1us)) abort();
  }
  return 0;
}
