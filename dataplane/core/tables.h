// SPDX-License-Identifier: Apache-2.0
// WorkerTables: everything one worker looks packets up in. Changed only by that worker, on orders
// from its mailbox; no two workers share a table. WorkerEvents is what the pipelines tell the
// outside, rarely.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "dataplane/core/channel.h"
#include "dataplane/core/packet_trace.h"
#include "dataplane/core/peer.h"
#include "dataplane/core/port.h"
#include "dataplane/core/routes.h"

namespace omni {

struct WorkerTables {
  uint32_t worker = 0;
  uint32_t workers = 1;
  std::shared_ptr<const RouteTable> routes = std::make_shared<RouteTable>();
  std::vector<PeerSlot> peers;  // by PeerIndex
  absl::flat_hash_map<ChannelId, std::shared_ptr<ReceiveChannel>> channels;
  DropCounters drops;
  PacketTrace* trace = nullptr;  // null: nobody asks

  // Null when there is no such peer (any more).
  PeerSlot* FindPeer(PeerIndex index) {
    if (index >= peers.size() || peers[index].activity == nullptr) return nullptr;
    return &peers[index];
  }
};

class WorkerEvents {
 public:
  virtual ~WorkerEvents() = default;
  virtual void OnHandshakeWanted(PeerIndex peer) = 0;
  virtual void OnConfirmed(SessionHandle session) = 0;
  virtual void OnRoamed(PeerIndex peer, SessionHandle session, const UdpPath& path) = 0;
  // An echo request or a probe.
  virtual void OnEchoRequest(PeerIndex peer, std::span<const uint8_t> message) = 0;
  virtual void OnEchoReply(PeerIndex peer, std::span<const uint8_t> message, Instant now) = 0;
  // The peer tries a path: to be answered over it, wherever the peer is.
  virtual void OnTry(PeerIndex peer, std::span<const uint8_t> message, const UdpPath& path) = 0;
  // A packet of the host that was dropped because more than `mtu` bytes do not pass; it may be
  // answered.
  virtual void OnTooBig(std::span<const uint8_t> packet, uint32_t mtu) = 0;
  // A datagram that is no session data; not yet judged.
  virtual void OnControl(std::span<const uint8_t> datagram, const UdpPath& path, Instant now) = 0;
  // Session data for a channel of another worker.
  virtual void OnHandover(uint32_t worker, std::span<const uint8_t> datagram,
                          const ReceivedDatagram& origin) = 0;
  // Session data for a control channel that is not the worker's: the kernel's, or nobody's. What
  // was received before it is on its way.
  virtual void OnControlChannel(std::span<const uint8_t> datagram,
                                const ReceivedDatagram& origin) = 0;
};

}  // namespace omni
