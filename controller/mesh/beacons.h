// SPDX-License-Identifier: Apache-2.0
// Beacons: says on each link of this machine that the node is here, and hears who else is: often
// while something is new, seldom when all is known (after the Trickle algorithm, RFC 6206, without
// its suppression: each node has to be heard). Pure: datagrams and time in, datagrams and hooks
// out. Owned by Discovery, on the event loop.
//
//   to [ff02::1%link]  from the link's own address, where the link has IPv6
//   to 224.0.0.1       from the link's IPv4 address, where it has none
//
// Nobody has to join these groups: all nodes of a link are in them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/identity/cluster.h"
#include "common/ip.h"
#include "common/node_id.h"
#include "common/secret.h"
#include "controller/net/interfaces.h"
#include "signal/beacon/beacon.h"

namespace omni {

struct BeaconsView {
  uint64_t sent = 0;
  uint64_t heard = 0;      // new ones, of others
  uint64_t replayed = 0;   // that were heard before, or are older than one that was
  uint64_t malformed = 0;  // of members, or let in by nobody's fault
  uint64_t foreign = 0;    // that do not come from where they say, or not from a link of ours
  std::optional<Instant> next;
};

class Beacons {
 public:
  struct Neighbour {
    NodeId id;
    Endpoint at;        // IPv6 link-local, or IPv4; with our scope
    ClusterId cluster;  // of a secret that it holds
    uint64_t sequence = 0;
    Instant heard;
  };
  struct Options {
    const Identity* identity = nullptr;  // not owned
    // Under each of these secrets a beacon is said, and heard; the present one first.
    struct Secret {
      ClusterId cluster;
      Key32 key;
    };
    std::vector<Secret> secrets;
    // `from`: the address of ours to send from.
    std::function<void(const Endpoint& to, const IpAddress& from, std::span<const uint8_t>)> send;
    std::function<uint64_t()> wall_nanos;         // a good first stamp
    std::function<uint32_t(uint32_t)> random;     // below its argument
    std::function<void(const Neighbour&)> heard;  // each time
    // LIMIT: nodes that are remembered, at some 200 bytes: what is forgotten first could be
    // replayed.
    size_t max_heard = 4096;
    std::function<void(const NodeId&)> relocated;  // it is, or was, somewhere else than before
  };
  explicit Beacons(Options options) : options_(std::move(options)) {}

  // `port`: the one UDP port. Of this node, and by agreement of all others. 0: nothing can leave.
  void SetLinks(std::vector<NetworkLink> links, uint16_t port, Instant now);
  void SetSequence(uint64_t sequence, Instant now);
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;

  // Where a node is on our links; empty when it is not, or not any more.
  std::vector<Endpoint> PlacesOf(const NodeId& id, Instant now) const;
  // Of a secret that the node holds; unset: it is not on our links.
  std::optional<ClusterId> ClusterOf(const NodeId& id, Instant now) const;
  std::vector<Neighbour> neighbours(Instant now) const;
  BeaconsView view() const;

 private:
  // Of one node: on the links with IPv6, and on those without.
  struct Heard {
    uint64_t stamp = 0;
    std::map<IpFamily, Neighbour> places;
  };
  bool IsOnLink(const Endpoint& at) const;
  bool IsAlone(Instant now) const;
  void Hurry(Instant now);
  void Say(Instant now);
  void SayOn(const NetworkLink& link, const Options::Secret& secret);
  void Forget(Instant now);
  void MakeRoom();

  const Options options_;
  std::vector<NetworkLink> links_;
  uint16_t port_ = 0;
  uint64_t sequence_ = 0;
  uint64_t stamp_ = 0;
  std::map<NodeId, Heard> heard_;
  Duration interval_{};
  std::optional<Instant> said_;
  std::optional<Instant> due_;
  std::optional<Instant> forget_at_;
  BeaconsView counters_;
};

}  // namespace omni
