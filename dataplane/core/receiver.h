// SPDX-License-Identifier: Apache-2.0
// Receiver: the way of a datagram from the network to the host. Owned by one worker; pure but for
// the ports it is given.
//
//   1. split      messages that the kernel merged are cut into datagrams
//   2. classify   by the first byte; what is no session data is told to WorkerEvents
//   3. channel    looked up by its 64-bit id; limits checked                 (another node's:
//                 Forwarder)
//   4. open       all datagrams of the batch, in place                       Aead
//   5. replay     the window moves only now, after the tag was good          ReplayWindow
//   6. peer       confirmation, roaming, activity
//   7. inner      parsed; the source must belong to the peer; ECN merged     ParseInner, RouteTable
//   8. deliver    to the host, in order of arrival                           TunPort
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/replay_window.h"
#include "dataplane/core/aead.h"
#include "dataplane/core/forwarder.h"
#include "dataplane/core/pieces.h"
#include "dataplane/core/port.h"
#include "dataplane/core/tables.h"

namespace omni {

class Receiver {
 public:
  // All must outlive the receiver.
  Receiver(WorkerTables& tables, Aead& aead, TunPort& port, Forwarder& forwarder,
           WorkerEvents& events);

  // Takes a whole batch to its end: every datagram is delivered, told to WorkerEvents, or dropped
  // and counted.
  void Receive(std::span<const ReceivedDatagram> batch, Instant now);

 private:
  static constexpr size_t kMaxJobs = 512;

  struct Pending {
    ReceiveChannel* channel = nullptr;
    const ReceivedDatagram* origin = nullptr;
  };

  void Classify(std::span<uint8_t> datagram, const ReceivedDatagram& origin, Instant now);
  void FindChannel(std::span<uint8_t> datagram, const ReceivedDatagram& origin, Instant now);
  void OpenPending(Instant now);
  void Accept(const AeadJob& job, const Pending& pending, Instant now);
  void AcceptTraced(const AeadJob& job, const Pending& pending, Instant now);
  // Activity, confirmation and roaming of an authentic packet that is no replay.
  void UpdatePeer(const Pending& pending, PeerSlot& peer, ReplayVerdict verdict, Instant now);
  // `traffic_class`: of the outer header.
  void AcceptInner(std::span<uint8_t> packet, uint8_t traffic_class, PeerIndex index,
                   PeerSlot& peer, Instant now);
  void AcceptMessage(std::span<uint8_t> message, PeerIndex index, Instant now);
  void AcceptTry(std::span<const uint8_t> message, const Pending& pending, Instant now);
  void AcceptPiece(std::span<uint8_t> message, const Pending& pending, PeerSlot& peer, Instant now);
  void Deliver();

  WorkerTables& tables_;
  Aead& aead_;
  TunPort& port_;
  Forwarder& forwarder_;
  WorkerEvents& events_;
  std::vector<AeadJob> jobs_;
  std::vector<Pending> pending_;
  std::vector<std::span<uint8_t>> deliver_;
  Reassembler reassembler_;
};

}  // namespace omni
