// SPDX-License-Identifier: Apache-2.0
// Coalescer: the opposite of Segmenter. Joins the packets of a flow that follow each other into
// super-packets, so that the host takes them with one write and one walk through its stack. Joins
// exactly what the kernel's own GRO would (net/ipv4/tcp_offload.c, udp_offload.c), and copies
// nothing: a super-packet is its first packet, whose header is changed in place, and the payloads
// of the others. Order within a flow is kept. Owned by one worker.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/core/segment.h"

namespace omni {

class Coalescer {
 public:
  // LIMIT: 64 segments: what every kernel with UDP_L4 takes in one UDP super-packet; TCP has no
  // gain beyond.
  static constexpr uint32_t kMaxSegments = 64;

  // One thing to write: `first` and then Next() of its pieces until there is none.
  struct Group {
    std::span<uint8_t> first;  // a whole packet; its header stands for all of the group
    uint32_t packets = 1;
    Offload offload;          // kind kNone when it is one packet, which is then untouched
    size_t header_bytes = 0;  // IP and transport header
    uint32_t first_item = 0;
  };

  // What may be joined.
  struct Kinds {
    bool tcp = true;
    bool udp = true;
  };

  // Groups `packets`, at most kMaxPackets, in the order in which they must be written. Valid until
  // the next call.
  static constexpr size_t kMaxPackets = 512;
  std::span<const Group> Coalesce(std::span<const std::span<uint8_t>> packets, Kinds kinds);

  // The payloads of a group's packets after the first.
  static constexpr uint32_t kEnd = UINT32_MAX;
  uint32_t FirstPiece(const Group& group) const { return items_[group.first_item].next; }
  std::span<uint8_t> Piece(uint32_t item) const {
    return items_[item].packet.subspan(items_[item].header_bytes);
  }
  uint32_t NextPiece(uint32_t item) const { return items_[item].next; }

  // Gives a group's first packet back as it came, when the host did not take the super-packet.
  void Restore(const Group& group) const;
  // A packet of a group, whole: to be written alone after Restore().
  std::span<uint8_t> Packet(uint32_t item) const { return items_[item].packet; }

 private:
  // LIMIT: IPv4 without options or IPv6 without extensions, and the longest TCP header.
  static constexpr size_t kMaxHeader = 40 + 60;

  struct Item {
    std::span<uint8_t> packet;
    size_t header_bytes = 0;
    uint32_t next = kEnd;
  };
  // A group that may still grow.
  struct Open {
    uint32_t flow_hash = 0;
    uint32_t group = 0;
    uint32_t last_item = 0;
    size_t payload_bytes = 0;  // of the whole group
    size_t segment_bytes = 0;  // payload of the first packet
    uint32_t next_sequence = 0;
    uint16_t next_ip_id = 0;
  };

  struct Candidate;
  static Candidate Examine(std::span<uint8_t> packet, const InnerPacket& inner, Kinds kinds);
  bool TryAppend(Open& open, const Candidate& candidate, uint32_t item);
  bool Matches(const Group& group, const Candidate& candidate) const;
  void Finish(Group& group, const Open& open);
  void Close(size_t open_index);

  std::vector<Group> groups_;
  std::vector<Item> items_;
  std::vector<Open> open_;
  std::vector<std::array<uint8_t, kMaxHeader>> saved_;  // by group
};

}  // namespace omni
