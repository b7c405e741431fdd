// SPDX-License-Identifier: Apache-2.0
// Knocks: the end of the first QUIC datagrams from one node to another: a MAC over all before it,
// under a key that the members of the cluster can make for each of their nodes, and nobody else can
// for any. By it the dataplane and the controller know a member before they do anything for it; a
// stranger gets neither an answer nor a TLS handshake. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace omni {

inline constexpr size_t kKnockBytes = 16;
using Knock = std::array<uint8_t, kKnockBytes>;
using KnockKey = std::array<uint8_t, 32>;  // of the node that is knocked at

Knock KnockOn(std::span<const uint8_t> datagram, const KnockKey& key);
// Whether the datagram ends with one, in constant time.
bool HasKnock(std::span<const uint8_t> datagram, const KnockKey& key);

}  // namespace omni
