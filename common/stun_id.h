// SPDX-License-Identifier: Apache-2.0
// Transaction ids of our STUN requests: 4 random bytes and their SipHash under a key of ours.
// Whoever holds the key can tell, without a table, a response to one of our requests from what
// strangers send: the dataplane for its controller. To everybody else they are random bytes. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace omni {

using StunId = std::array<uint8_t, 12>;
using StunKey = std::array<uint8_t, 16>;

// Whether the datagram is STUN among the protocols of one port (RFC 7983): first byte 0-3, a whole
// header, the magic cookie.
bool IsStun(std::span<const uint8_t> datagram);

StunId NewStunId(const StunKey& key);
// Whether the datagram, which IsStun(), is a response whose transaction id was made with the key.
bool IsStunResponseOf(std::span<const uint8_t> datagram, const StunKey& key);

}  // namespace omni
