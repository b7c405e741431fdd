// SPDX-License-Identifier: Apache-2.0
// A port of the home router for a port of ours: PCP (RFC 6887), else NAT-PMP (RFC 6886) by
// libnatpmp, else UPnP IGD by miniupnpc. The calls block for some seconds: they are PortMapper's,
// on its thread. What a router answers is authenticated by nothing: it is a candidate among others,
// and no more.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/ip.h"
#include "controller/nat/pcp.h"

namespace omni {

enum class MappingProtocol : uint8_t { kPcp, kNatPmp, kUpnp };
std::string_view Name(MappingProtocol protocol);  // "PCP", "NAT-PMP", "UPnP"

struct PortMapping {
  MappingProtocol protocol = MappingProtocol::kNatPmp;
  Endpoint outer;
  std::chrono::seconds lifetime{};  // from when it was granted; 0: it has no end
  PcpNonce nonce{};                 // PCP: whose it is
  // UPnP: where to take it back.
  std::string control_url;
  std::string service;
};

// Asks for a UDP port that leads to `port` of this machine. UNAVAILABLE: there is no router, or
// none that grants ports, and why. Renews a mapping that exists.
absl::StatusOr<PortMapping> MapPort(uint16_t port, std::chrono::seconds lifetime,
                                    const PcpNonce& nonce);
// Best effort.
void UnmapPort(uint16_t port, const PortMapping& mapping);

}  // namespace omni
