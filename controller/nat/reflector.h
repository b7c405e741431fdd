// SPDX-License-Identifier: Apache-2.0
// Reflector: finds out, by STUN, where servers see this node's one UDP port, for each address
// family, and whether the NAT before it maps towards each destination anew. Asks all servers, and
// the second port that they name, and again when told that the network changed or after some
// minutes. Pure: datagrams and time in, datagrams and word of changes out. Owned by Discovery.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"
#include "common/stun_id.h"
#include "signal/stun/mapping.h"
#include "signal/stun/transaction.h"

namespace omni {

// What is known of one address family. Unset or empty: not known (yet).
struct Reflection {
  std::optional<Endpoint> mapped;
  stun::Mapping mapping = stun::Mapping::kUnknown;
  std::optional<Duration> rtt;  // the shortest
  std::string error;            // why there is no `mapped`
};

class Reflector {
 public:
  struct Options {
    StunKey key{};
    std::function<void(const Endpoint& to, std::span<const uint8_t> datagram)> send;
    // A round has ended; view() may be new. Called from OnDatagram() and OnTimer().
    std::function<void()> done;
  };
  explicit Reflector(Options options) : options_(std::move(options)) {}

  // LIMIT: four of a family are asked. Other ones than before: a round begins.
  void SetServers(const std::vector<Endpoint>& servers, Instant now);
  // Where the port is as the machine itself knows it. Other ones than before: a round begins.
  void SetOwn(std::vector<Endpoint> own, Instant now);
  // Begins a round, unless one is under way. Without servers nothing happens.
  void Start(Instant now);
  // Until the next Start(): nothing can leave.
  void Stop();

  // A datagram that IsStun().
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;

  bool is_busy() const { return !transactions_.empty(); }
  // Of the last round that ended; none for a family of which there is no server.
  std::optional<Reflection> view(IpFamily family) const;

 private:
  struct Round {
    std::vector<stun::Observation> observations;
    std::optional<Duration> rtt;
    std::string error;
  };

  void Ask(const Endpoint& server, Instant now);
  void OnResponse(const stun::Transaction& asked, const stun::Message& response, Instant now);
  void EndIfDone(Instant now);

  const Options options_;
  std::vector<Endpoint> servers_;
  std::vector<Endpoint> own_;
  std::list<stun::Transaction> transactions_;
  std::map<IpFamily, Round> round_;       // under way
  std::map<IpFamily, Reflection> known_;  // of the last round
  std::optional<Instant> next_round_;
};

}  // namespace omni
