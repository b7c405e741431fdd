// SPDX-License-Identifier: Apache-2.0
// PeerSlot: what one worker knows of one peer. Every worker has its own; the hub changes them
// through the mailbox and hears of roaming through events. PeerActivity is the part that the hub
// reads while the worker writes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"
#include "dataplane/core/channel.h"
#include "dataplane/core/drop.h"

namespace omni {

// Where a datagram goes and which of our addresses it leaves from ("sticky source": a peer behind a
// firewall must hear from the address it spoke to).
struct UdpPath {
  Endpoint remote;
  std::optional<IpAddress> local;

  friend bool operator==(const UdpPath&, const UdpPath&) = default;
};

// Whether datagrams go the same way. That the local address was not known before is no change.
inline bool IsSameWay(const UdpPath& a, const UdpPath& b) {
  return a.remote == b.remote && (a.local == b.local || !a.local || !b.local);
}

// The largest inner packets for a peer: what its path carries. docs/PROTOCOL.md, section 9.
struct PathMtu {
  // LIMIT: 1,280 bytes outside, as every IPv6 link carries, less IPv6, UDP and our header. Nothing
  // else is assumed of a path before it was probed.
  uint32_t whole = 1200;   // goes as one datagram; a larger one is cut, or goes in pieces
  uint32_t limit = 65535;  // a larger one is too big, and its sender is told

  friend bool operator==(const PathMtu&, const PathMtu&) = default;
};

// Bytes that an inner packet grows by on its way to `remote`.
inline uint32_t OuterOverhead(const Endpoint& remote) {
  return (remote.address.is_v4() ? 20U : 40U) + 8U + OMNI_DATA_OVERHEAD;
}

// LIMIT: packets at most so large pass any path (576 bytes outside, RFC 1122).
inline constexpr uint32_t kSmallInner = 496;

// Traffic with a peer as one worker saw it. Times are nanoseconds of the BootClock, 0 is never.
struct PeerActivity {
  Counter64 tx_packets;
  Counter64 tx_bytes;
  Counter64 rx_packets;
  Counter64 rx_bytes;
  Counter64 last_tx;        // anything, keepalives included
  Counter64 last_data_tx;   // a packet of the host
  Counter64 last_large_tx;  // one that not every path carries
  Counter64 last_rx;        // anything authentic
  Counter64 last_data_rx;   // a packet for the host
};

inline void SetTime(Counter64& at, Instant now) {
  at.Set(static_cast<uint64_t>(now.time_since_epoch().count()));
}

struct PeerSlot {
  UdpPath path;
  PathMtu mtu;
  std::shared_ptr<const SendSession> session;
  std::shared_ptr<PeerActivity> activity;  // null: no such peer
  Instant last_handshake_request;          // so that a burst asks once
  std::vector<uint16_t> waiting;           // slots of the waiting room, oldest first
};

}  // namespace omni
