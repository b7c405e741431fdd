// SPDX-License-Identifier: Apache-2.0
// Forwarder: the way of a datagram that is for another node, by the channel id alone (relay). Owned
// by one worker, as the channels are whose numbers are its; pure but for the port it is given.
//
//   1. channel    looked up by its 64-bit id
//   2. source     the address where the peer is that the channel is open for, and no other
//   3. judge      its size, its counter, the quotas                          JudgeRelayed
//   4. send       the same bytes, to where the other peer is, in trains      UdpPort
//
// Nothing is opened, changed or answered; what goes out is never more than what came in.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/relay/relay.h"
#include "dataplane/core/port.h"
#include "dataplane/core/tables.h"

namespace omni {

// What one peer sends to another on a channel that the other has opened for it.
struct RelayRoute {
  PeerIndex from = kNoPeer;
  PeerIndex to = kNoPeer;
  Instant expires;
  std::shared_ptr<RelayQuota> total;
  std::shared_ptr<RelayedChannel> channel;  // this worker's alone
};

struct RelayCounters {
  Counter64 packets;
  Counter64 bytes;
};

class Forwarder {
 public:
  // Both outlive the forwarder.
  Forwarder(WorkerTables& tables, UdpPort& port);

  // Another time for one that is open already: its window stays.
  void Open(ChannelId id, RelayRoute route);
  void Close(ChannelId id) { routes_.erase(id); }

  // False: no other node's channel has this id. Else the datagram is sent on by Flush() at the
  // latest, from where it is, or dropped and counted.
  bool Take(std::span<uint8_t> datagram, const ReceivedDatagram& origin, Instant now);
  void Flush();

  const RelayCounters& counters() const { return counters_; }

 private:
  // LIMIT: as many as a batch of the receiver has.
  static constexpr size_t kMaxTrains = 512;

  void Queue(std::span<uint8_t> datagram, const UdpPath& path, uint8_t traffic_class);
  void Drop(DropReason reason) { tables_.drops.Count(reason); }

  WorkerTables& tables_;
  UdpPort& port_;
  absl::flat_hash_map<ChannelId, RelayRoute> routes_;
  std::vector<Train> trains_;
  RelayCounters counters_;
};

}  // namespace omni
