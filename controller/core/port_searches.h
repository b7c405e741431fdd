// SPDX-License-Identifier: Apache-2.0
// PortSearches: looks for direct ways to relayed peers behind hard NATs, where our own NAT filters
// by port: tries the ports of such a NAT one after the other (nat/port_search.h), through the
// session that the relay carries, for one peer at a time. Owned by the Controller, on the event
// loop.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/clock.h"
#include "common/node_id.h"
#include "controller/dataplane_client/dataplane_client.h"
#include "controller/nat/port_search.h"

namespace omni {

class PortSearches {
 public:
  // LIMIT: tries a second, for all peers together. Each is a datagram of 56 bytes, and an entry in
  // the tables of our own NAT for as long as that keeps what was not answered: at 30 s, 3,000.
  static constexpr Duration kPause = 10ms;
  // LIMIT: between two searches for a peer that is where it was: the one before went over all
  // ports.
  static constexpr Duration kNotBefore = std::chrono::hours(6);
  static constexpr Duration kLook = 5s;  // for peers to search
  // LIMIT: for the answer to a try; more than any round trip.
  static constexpr Duration kAnswersWithin = 3s;

  struct Target {
    NodeId peer;
    IpAddress address;           // of its NAT
    std::vector<uint16_t> seen;  // ports there at which servers saw it
  };
  struct Options {
    std::function<Instant()> clock;
    std::function<uint64_t()> new_token;  // of an echo, never used before
    std::function<uint32_t()> random;
    // Peers that could be met so, as it is now.
    std::function<std::vector<Target>()> targets;
    // The peer has answered there.
    std::function<void(const NodeId&, const Endpoint&)> found;
    Duration pause = kPause;
  };
  struct Counters {
    uint64_t begun = 0;
    uint64_t found = 0;
    uint64_t exhausted = 0;  // all ports were tried
    uint64_t tries = 0;
  };
  PortSearches(boost::asio::io_context& loop, DataplaneClient& dataplane, Options options)
      : dataplane_(dataplane), options_(std::move(options)), timer_(loop) {}

  void Start();
  void Stop();
  // Whether the token was of a try.
  bool OnEchoReply(uint64_t token);

  // What is to be said of a relayed peer: how far its search is, or how it ended; "": nothing.
  std::string Describe(const NodeId& peer) const;
  const Counters& counters() const { return counters_; }

 private:
  struct Done {
    IpAddress address;
    Instant ended;
  };
  struct Running {
    Target target;
    PortSearch search;
    Instant rests_until{};
    std::optional<Endpoint> again{};  // what was refused
  };
  struct Asked {
    uint64_t token = 0;
    NodeId peer;
    Endpoint at;
    Instant when;
  };

  void OnTimer();
  void Look(Instant now);
  void TryNext(Instant now);
  void End(Instant now);
  void ArmTimer(Duration wait);

  DataplaneClient& dataplane_;
  const Options options_;
  boost::asio::steady_timer timer_;
  Instant look_;  // when to look at the targets again
  std::optional<Running> running_;
  std::map<NodeId, Done> done_;  // LIMIT: kMaxDone
  std::deque<Asked> asked_;      // LIMIT: kAnswersWithin / kPause
  Counters counters_;
};

}  // namespace omni
