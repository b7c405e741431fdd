// SPDX-License-Identifier: Apache-2.0
// PCP (RFC 6887), as far as it takes to ask a router for a UDP port: the MAP request and the answer
// to it, as bytes. Debian has no library for it. Pure; what a router answers is hostile.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "common/ip.h"

namespace omni {

inline constexpr uint16_t kPcpPort = 5351;
inline constexpr size_t kPcpMapBytes = 60;
// LIMIT: RFC 6887 section 7.
inline constexpr size_t kMaxPcpBytes = 1100;

// Whose mapping it is: who does not know it cannot take it over. The same over restarts, so that a
// machine can renew what it had.
using PcpNonce = std::array<uint8_t, 12>;

// Asks for a UDP port that leads to `port` of this machine, best with the same number. `client`:
// our IPv4 address towards the router. `lifetime` 0: gives it back.
std::array<uint8_t, kPcpMapBytes> PcpMapRequest(const IpAddress& client, uint16_t port,
                                                std::chrono::seconds lifetime,
                                                const PcpNonce& nonce);

struct PcpGrant {
  Endpoint outer;
  std::chrono::seconds lifetime{};
};

// INVALID_ARGUMENT: no answer to this request. UNIMPLEMENTED: the router does not speak this
// version. UNAVAILABLE: it refuses, and why.
absl::StatusOr<PcpGrant> ReadPcpMapResponse(std::span<const uint8_t> datagram, uint16_t port,
                                            const PcpNonce& nonce);

}  // namespace omni
