// SPDX-License-Identifier: Apache-2.0
// KernelControl: what the hub needs of the in-kernel path: control channels that the kernel owns,
// where peers are, which inner addresses are theirs, and what the kernel saw. dataplane/kernel has
// the one of BPF; tests have one that remembers. Called with the hub's lock held, but for
// Maintain(): nothing here waits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/clock.h"
#include "dataplane/core/channel.h"
#include "dataplane/core/peer.h"

namespace omni {

// Place of a channel in the kernel's tables.
using KernelSlot = uint32_t;

struct KernelTraffic {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  Instant last;       // anything
  Instant last_data;  // a packet of the host, or for it
};

// What the kernel tells.
struct KernelConfirmed {
  ChannelId channel = 0;
};
struct KernelRoamed {
  ChannelId channel = 0;
  UdpPath path;
};
using KernelEvent = std::variant<KernelConfirmed, KernelRoamed>;

class KernelControl {
 public:
  virtual ~KernelControl() = default;

  // Channels. From the call on the kernel owns the channel, and nobody else may number packets of
  // it, or judge their numbers. No value: there is no room, and the caller keeps the channel.
  virtual std::optional<KernelSlot> AddReceive(const ReceiveChannel& channel) = 0;
  virtual std::optional<KernelSlot> AddSend(PeerIndex peer, const SendChannel& channel,
                                            Instant reject_at) = 0;
  // Ends it and erases its key. Gives what it received.
  virtual KernelTraffic RemoveReceive(KernelSlot slot) = 0;
  virtual void RemoveSend(KernelSlot slot) = 0;
  virtual KernelTraffic Received(KernelSlot slot) const = 0;
  // Messages sent on it so far.
  virtual uint64_t Messages(KernelSlot slot) const = 0;

  // Peers. One that was added has no path and no channel.
  virtual void AddPeer(PeerIndex peer) = 0;
  virtual void RemovePeer(PeerIndex peer) = 0;
  virtual void SetPath(PeerIndex peer, const UdpPath& path) = 0;
  // Largest inner packet that the path carries whole; a peer that was added has none.
  virtual void SetFits(PeerIndex peer, uint32_t bytes) = 0;
  virtual void SetSendChannel(PeerIndex peer, std::optional<KernelSlot> slot) = 0;
  virtual KernelTraffic Sent(PeerIndex peer) const = 0;
  // All routes there are.
  virtual void SetRoutes(const std::vector<RouteTable::Entry>& routes) = 0;

  // Follows interfaces and routes of the host. Called a few times a second, without the hub's lock.
  virtual void Maintain() = 0;
  virtual std::vector<KernelEvent> TakeEvents() = 0;
  // By omni_drop_reason and omni_kernel_counter (bpf/kernel_abi.h).
  virtual std::vector<uint64_t> Counters() const = 0;
  // The same of each CPU.
  virtual std::vector<std::vector<uint64_t>> CountersByCpu() const { return {}; }

  // Whether a packet for the peer, in a flow without larger ones, would be sealed by the kernel,
  // and why, for people.
  struct Sealing {
    bool yes = false;
    std::string why;
  };
  virtual Sealing WouldSeal(PeerIndex /*peer*/, uint32_t /*bytes*/, uint8_t /*protocol*/) const {
    return {};
  }
};

}  // namespace omni
