// SPDX-License-Identifier: Apache-2.0
// Pieces: how a packet that the path does not carry whole crosses it nevertheless, as several
// sealed packets (struct omni_inner_piece). Not IP fragments of the outer packet: middleboxes drop
// those, and IPv4 gives no way to choose their size. PieceLayout cuts; Reassembler, owned by one
// receiver, puts together what peers send, in fixed space.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "bpf/abi.h"
#include "dataplane/core/channel.h"
#include "dataplane/core/drop.h"

namespace omni {

// LIMIT: the index is one byte; 256 pieces of 484 bytes hold the largest packet.
inline constexpr size_t kMaxPieces = 256;

// How a packet of `total` bytes lies in pieces of at most `piece` bytes.
struct PieceLayout {
  uint32_t total = 0;
  uint32_t piece = 0;

  // Every inner packet with its piece header fits `whole` bytes. The pieces are of about one size.
  static PieceLayout Of(uint32_t total, uint32_t whole);

  uint32_t count() const { return (total + piece - 1) / piece; }
  uint32_t Bytes(uint32_t index) const {
    return index + 1 < count() ? piece : total - index * piece;
  }
  friend bool operator==(const PieceLayout&, const PieceLayout&) = default;
};

void WritePieceHeader(const PieceLayout& layout, uint32_t index, uint32_t id, uint8_t* out);

class Reassembler {
 public:
  // LIMIT: packets that may be incomplete at once; a flow's pieces follow each other, so that this
  // many flows can be interleaved. 1 MiB of address space, touched only where pieces come.
  static constexpr size_t kSlots = 16;

  struct Whole {
    std::span<uint8_t> packet;  // with TunPort::kHeadroom in front; until Release()
    uint8_t traffic_class = 0;  // of the outer headers; CE when any had it
  };

  Reassembler();

  // Takes a piece that came authentic from `peer` on `channel`. Gives the packet when it was the
  // last one that lacked. What is malformed, or pushed out by newer packets, is counted. Not when
  // is_full().
  std::optional<Whole> Add(PeerIndex peer, ChannelId channel, std::span<const uint8_t> message,
                           uint8_t traffic_class, DropCounters& drops);
  // Whether every place holds a packet that was given out.
  bool is_full() const { return given_ == kSlots; }
  // The packets given out are delivered.
  void Release();

 private:
  enum class Use : uint8_t { kFree, kFilling, kGiven };
  struct Slot {
    Use use = Use::kFree;
    PeerIndex peer = kNoPeer;
    ChannelId channel = 0;
    uint32_t id = 0;
    PieceLayout layout;
    std::bitset<kMaxPieces> have;
    uint8_t traffic_class = 0;
    uint64_t age = 0;  // number of the packet that began here
  };

  Slot* Find(ChannelId channel, uint32_t id);
  // A free slot for `peer`, or that of the oldest incomplete packet of whoever has most, so that a
  // peer that begins packets and ends none pushes out its own.
  Slot* Take(PeerIndex peer, DropCounters& drops);
  size_t ShareOf(PeerIndex peer) const;
  uint8_t* BufferOf(const Slot& slot);

  std::vector<Slot> slots_;
  std::unique_ptr<uint8_t[]> buffers_;
  size_t given_ = 0;
  uint64_t next_age_ = 0;
};

}  // namespace omni
