// SPDX-License-Identifier: Apache-2.0
// StunAnswer: what a STUN server says to a datagram (RFC 8489 section 6.3, RFC 5780 section 6 for a
// server with one address and two ports): where the request came from, and nothing beside it.
// Whatever is not a well-formed Binding request gets silence: to an echo of anything else, a victim
// whose address was forged would be answered. Pure and without state.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/ip.h"

namespace omni::stun {

enum class ServerPort : uint8_t { kFirst, kSecond };

struct ServerPorts {
  uint16_t first = 0;
  uint16_t second = 0;  // 0: there is no second one

  uint16_t of(ServerPort which) const { return which == ServerPort::kFirst ? first : second; }
};

struct Answer {
  ServerPort from = ServerPort::kFirst;  // the port that it must leave from
  std::vector<uint8_t> bytes;
};

// `local`: the server's address that the datagram came to.
//
// A plain request is answered by XOR-MAPPED-ADDRESS alone (and FINGERPRINT when the request has
// one): 20 bytes by 32, or 44 with IPv6, the least that the standard allows. A request with
// CHANGE-REQUEST is told of the ports as well: RESPONSE-ORIGIN, and the second port as
// OTHER-ADDRESS. RFC 5780 reserves that for servers with two addresses; a client that sends
// CHANGE-REQUEST here asks for ports and compares the addresses itself. Changing the address is
// refused (420): there is one.
std::optional<Answer> AnswerRequest(std::span<const uint8_t> datagram, const Endpoint& source,
                                    const IpAddress& local, ServerPort arrived,
                                    const ServerPorts& ports);

}  // namespace omni::stun
