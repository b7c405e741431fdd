// SPDX-License-Identifier: Apache-2.0
// What a router does about packets that the next link does not take: the ICMP message that tells
// their sender (RFC 792 and 1191, RFC 4443), and the MSS of TCP's SYNs, which spares most of it.
// Pure functions on packets that were parsed.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/core/inner_ip.h"

namespace omni {

// LIMIT: an IPv6 link carries this (RFC 8200 section 5): no IPv6 packet up to it is too big.
inline constexpr uint32_t kIpv6MinimumMtu = 1280;

// Whether the network may not cut the packet: IPv6, or IPv4 with DF.
bool IsWhole(std::span<const uint8_t> packet);

// Whether an ICMP error may answer the packet (RFC 1122 section 3.2.2, RFC 4443 section 2.4): none
// that is one itself, is not the first fragment, or goes to or comes from more than one machine.
bool MayBeAnswered(std::span<const uint8_t> packet, const InnerPacket& inner);

// Makes `out` the message "too big, at most `mtu` bytes", from the packet's destination to its
// source: that is an address which the host routes into the tunnel, so that no reverse-path filter
// takes offence, and which is not its own. Room for kTooBigBytes was reserved: nothing is
// allocated.
inline constexpr size_t kTooBigBytes = 1280;
void WriteTooBig(std::span<const uint8_t> packet, uint32_t mtu, std::vector<uint8_t>& out);

// Lowers the MSS that a SYN offers to what fits packets of `mtu` bytes.
void ClampMss(std::span<uint8_t> packet, const InnerPacket& inner, uint32_t mtu);

}  // namespace omni
