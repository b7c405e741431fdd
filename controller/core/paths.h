// SPDX-License-Identifier: Apache-2.0
// Paths: keeps each peer with a session on the best way there is (nat/path_chooser.h), through the
// dataplane's tries and moves. Of two nodes the one with the smaller id decides. Owned by the
// Controller, on the event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/clock.h"
#include "common/node_id.h"
#include "controller/dataplane_client/dataplane_client.h"
#include "controller/nat/loss_window.h"
#include "controller/nat/path_chooser.h"

namespace omni {

class Paths {
 public:
  struct Options {
    NodeId self;
    std::function<Instant()> clock;
    std::function<uint64_t()> new_token;  // of an echo, never used before
    // Whether packets to the peer that go there are relayed.
    std::function<bool(const NodeId&, const Endpoint&)> is_relay;
    std::function<void(const NodeId&, const Endpoint&)> on_move;  // told to the dataplane
    // What became of a try of the present path.
    std::function<void(const NodeId&, LossWindow::Outcome)> on_outcome = [](const NodeId&,
                                                                            LossWindow::Outcome) {};
  };
  Paths(boost::asio::io_context& loop, DataplaneClient& dataplane, Options options);

  PathClass ClassOf(const NodeId& peer, const Endpoint& to) const;

  // Where the peer may be, as its record says. None: there is nothing to choose.
  void SetCandidates(const NodeId& peer, const std::vector<Endpoint>& candidates);
  // Where packets to the peer go.
  void SetPresent(const NodeId& peer, const Endpoint& at);
  // A session is in use on both sides.
  void OnSession(const NodeId& peer);
  // This machine's network is another: all ways are looked at anew, and the peers hear at once
  // where packets come from now.
  void OnNetworkChange();
  // There is none any more.
  void OnNoSession(const NodeId& peer);
  void Remove(const NodeId& peer);
  // The dataplane is gone.
  void Stop();
  // Packets to the peer go there from now on, whatever was found: who relays them has moved.
  void Move(const NodeId& peer, const Endpoint& to);
  // The peer has answered at a place that is no candidate, and better than the present one.
  void Take(const NodeId& peer, const Endpoint& at);
  // Whether the token was of a try.
  bool OnEchoReply(uint64_t token, Duration rtt);

 private:
  struct Entry {
    explicit Entry(PathRole role) : chooser(role) {}
    PathChooser chooser;
    std::vector<std::vector<uint64_t>> tokens;  // of the rounds whose answers count
    std::optional<Instant> due;                 // mirrored in `due_`
  };
  struct Asked {
    NodeId peer;
    PathChooser::Try one;
    Instant at;
    bool is_lost = false;  // counted as such; it may come yet
  };

  Entry& At(const NodeId& peer);
  void ForgetTries(Entry& entry, size_t rounds_kept);
  void CountLost(const NodeId& peer, Entry& entry, Instant now);
  void OnTimer();
  void StartRound(const NodeId& peer, Entry& entry, Instant now);
  void Schedule(NodeId peer, Entry& entry);

  DataplaneClient& dataplane_;
  const Options options_;
  boost::asio::steady_timer timer_;
  std::map<NodeId, Entry> entries_;  // LIMIT: peers with candidates
  std::map<uint64_t, Asked> asked_;  // LIMIT: 3 rounds of 17 a peer
  std::set<std::pair<Instant, NodeId>> due_;
};

}  // namespace omni
