// SPDX-License-Identifier: Apache-2.0
// ChannelWatch: who else must know which channels are received here, and from where handshakes are
// expected: XDP, which drops what belongs to no channel, and limits strangers. Called with the
// hub's lock held (Expect(): or without), before a channel is told to any peer and after its last
// packet could be opened; nothing here waits. RelayWatch: the same for channels that are relayed.
#pragma once

#include <cstdint>
#include <optional>

#include "common/clock.h"
#include "common/ip.h"
#include "common/relay/relay.h"
#include "dataplane/core/channel.h"
#include "dataplane/core/peer.h"

namespace omni {

enum class ChannelUse : uint8_t { kOurs, kRelayed };

class ChannelWatch {
 public:
  virtual ~ChannelWatch() = default;
  virtual void ChannelAdded(ChannelId id, ChannelUse use) = 0;
  virtual void ChannelRemoved(ChannelId id) = 0;
  // A peer is there, or a handshake was sent there.
  virtual void Expect(const IpAddress& address) = 0;
};

struct RelayTraffic {
  uint64_t packets = 0;
  uint64_t bytes = 0;
};

class RelayWatch {
 public:
  // What is sent on the channel by one peer goes to the other.
  struct Opening {
    ChannelId id = 0;
    PeerIndex from = kNoPeer;
    PeerIndex to = kNoPeer;
    UdpPath from_path;
    UdpPath to_path;
    uint32_t pair = 0;  // whose quota it has, by a number that no other pair ever had; not 0
    Instant expires;
  };
  virtual ~RelayWatch() = default;
  // Also while channels are open; empty: all are closed, by RelayClosed().
  virtual void SetRelayLimits(const std::optional<RelayLimits>& limits) = 0;
  // Also for one that is open, with another time.
  virtual void RelayOpened(const Opening& opening) = 0;
  virtual void RelayClosed(ChannelId id) = 0;
  // Of any peer, with every new address of it.
  virtual void PeerMoved(PeerIndex peer, const UdpPath& path) = 0;
  // What was relayed without the workers.
  virtual RelayTraffic Relayed() const = 0;
};

}  // namespace omni
