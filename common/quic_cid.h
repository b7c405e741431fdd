// SPDX-License-Identifier: Apache-2.0
// Connection ids of our QUIC ends: 8 random bytes and their SipHash under a key of ours. Whoever
// holds the key can tell, without a table, a datagram of one of our connections from a stranger's:
// the dataplane for its controller, a Nucleus for connections of its former life. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace omni {

inline constexpr size_t kQuicCidBytes = 16;
using QuicCid = std::array<uint8_t, kQuicCidBytes>;
using QuicCidKey = std::array<uint8_t, 16>;

// Whether the first byte of a datagram is one of QUIC's (RFC 9443; the fixed bit is never greased).
constexpr bool IsQuic(uint8_t first_byte) { return (first_byte & 0x40U) != 0; }

// Whether it is of a packet with a long header (RFC 8999 section 5.1): those of handshakes.
constexpr bool IsLongQuic(uint8_t first_byte) { return (first_byte & 0x80U) != 0; }

QuicCid NewQuicCid(const QuicCidKey& key);
// Whether the datagram, whose first byte IsQuic(), is for a connection id made with the key.
bool HasQuicCidOf(std::span<const uint8_t> datagram, const QuicCidKey& key);

}  // namespace omni
