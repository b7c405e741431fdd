// SPDX-License-Identifier: Apache-2.0
// WorkerReports: what workers tell the hub. Called on worker threads, rarely; an implementation
// only queues.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "dataplane/core/channel.h"
#include "dataplane/core/peer.h"

namespace omni {

class WorkerReports {
 public:
  virtual ~WorkerReports() = default;
  virtual void HandshakeWanted(PeerIndex peer, Instant now) = 0;
  virtual void Confirmed(SessionHandle session) = 0;
  // `session`: on which the packet came. The peer's index may belong to another by the time this is
  // heard; the session never does.
  virtual void Roamed(uint32_t worker, PeerIndex peer, SessionHandle session,
                      const UdpPath& path) = 0;
  virtual void EchoReplied(PeerIndex peer, uint64_t token, Duration rtt, Instant now) = 0;
  // Empty when the controller's queue took the datagram, else why not.
  virtual std::optional<DropReason> PacketIn(std::span<const uint8_t> datagram,
                                             const Endpoint& from) = 0;
  // The worker cannot go on: the process has to end and be started anew.
  virtual void Failed(const std::string& cause) = 0;
};

}  // namespace omni
