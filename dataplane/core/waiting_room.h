// SPDX-License-Identifier: Apache-2.0
// WaitingRoom: packets of one worker that wait for a handshake. A fixed slab, so that a flood to a
// dead peer costs neither allocation nor unbounded memory: beyond a peer's share or the slab the
// oldest packet of that peer, or the new one, is dropped and counted.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/clock.h"
#include "dataplane/core/peer.h"
#include "dataplane/core/port.h"

namespace omni {

class WaitingRoom {
 public:
  // LIMIT: 2,048 bytes hold any packet of an ordinary MTU. Larger ones (super-packets of a flow
  // that is under way) are dropped: their transport sends them again.
  static constexpr size_t kSlotBytes = 2048;
  static constexpr size_t kSlots = 256;
  static constexpr size_t kPerPeer = 64;
  // LIMIT: as long as one handshake retry and a half; older packets are of no use to their sender.
  static constexpr Duration kMaxAge = std::chrono::seconds(8);

  WaitingRoom();

  struct Packet {
    std::array<uint8_t, kSlotBytes> bytes;
    uint16_t size = 0;
    Offload offload;
    Instant arrived;
  };

  // Keeps a copy of `packet` for `slot`. Gives how many packets were dropped for it (the new one,
  // or the oldest).
  int Add(PeerSlot& slot, const HostPacket& packet, Instant now);

  // Takes the oldest packet of the peer out and returns a view that is valid until the next Add().
  // Null when none waits.
  Packet* Take(PeerSlot& slot);

  // Drops the peer's packets that are too old; gives their number.
  int DropExpired(PeerSlot& slot, Instant now);
  bool is_full() const { return free_.empty(); }

  // Drops all packets of the peer; gives their number.
  int Clear(PeerSlot& slot);

 private:
  std::unique_ptr<std::array<Packet, kSlots>> packets_;
  std::vector<uint16_t> free_;
};

}  // namespace omni
