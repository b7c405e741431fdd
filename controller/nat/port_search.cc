// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/port_search.h"

#include <numeric>

namespace omni {
namespace {

// From one port to the next: all ports come once, because it shares no factor with their number;
// and far from each other.
constexpr uint32_t kStride = 39'119;
static_assert(std::gcd(kStride, PortSearch::kTotal) == 1);

}  // namespace

PortSearch::PortSearch(const IpAddress& address, std::span<const uint16_t> seen, uint32_t random)
    : address_(address), seen_(seen.begin(), seen.end()), start_(random % kTotal) {}

std::optional<Endpoint> PortSearch::Take(int64_t port) {
  if (port < kFirstPort || port > 65535 || known_.test(static_cast<size_t>(port))) {
    return std::nullopt;
  }
  known_.set(static_cast<size_t>(port));
  ++tried_;
  return Endpoint{.address = address_, .port = static_cast<uint16_t>(port)};
}

std::optional<Endpoint> PortSearch::Next() {
  // Around each of those seen, above and below, ever farther away.
  const auto around = static_cast<uint32_t>(seen_.size()) * 2;
  while (around > 0 && near_ < around * (kNear + 1)) {
    const int64_t distance = near_ / around;
    const uint32_t which = near_ % around;
    ++near_;
    if (const auto place = Take(seen_[which / 2] + (which % 2 == 0 ? distance : -distance))) {
      return place;
    }
  }
  while (far_ < kTotal) {
    const uint64_t at = start_ + uint64_t{kStride} * far_++;
    if (const auto place = Take(kFirstPort + static_cast<int64_t>(at % kTotal))) return place;
  }
  return std::nullopt;
}

}  // namespace omni
