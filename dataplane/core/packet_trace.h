// SPDX-License-Identifier: Apache-2.0
// PacketTrace: what becomes of single packets of one worker, while somebody asks. The worker looks
// once a batch whether it is on; while it is, it writes a record a packet into a ring. The
// pipelines tell it of a packet before they work on it and afterwards; a drop in between is that
// packet's. Begin(), End() and Take() are one reader's; everything else is the worker's.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "dataplane/core/port.h"
#include "dataplane/core/routes.h"

namespace omni {

struct TracedPacket {
  Instant at;
  bool outgoing = false;
  PeerIndex peer = kNoPeer;
  uint32_t bytes = 0;    // of the inner packet; of the datagram where there is no inner one
  uint32_t packets = 1;  // of a super-packet, or that were dropped at once
  IpAddress source;      // inner; the datagram's where there is no inner one; zero: not known
  IpAddress destination;
  uint8_t protocol = 0;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;
  std::string_view verdict;  // of static life
  bool dropped = false;
  std::optional<Way> way;
  uint64_t channel_id = 0;  // incoming session data
  uint64_t counter = 0;
};

class PacketTrace final : public DropObserver {
 public:
  // LIMIT: records that wait for the reader: 150 KiB a worker.
  static constexpr size_t kRecords = 1024;

  struct Filter {
    PeerIndex peer = kNoPeer;  // all
    bool drops_only = false;
  };
  PacketTrace() : ring_(kRecords) {}

  void Begin(const Filter& filter);
  void End();
  struct Taken {
    std::vector<TracedPacket> packets;
    uint64_t missed = 0;  // since Begin()
  };
  Taken Take();

  // ORDER: relaxed; a batch sooner or later does not matter.
  bool is_on() const { return on_.load(std::memory_order_relaxed); }

  // The worker. A packet from the host.
  void OpenHost(const HostPacket& packet, PeerIndex peer, std::optional<Way> way, Instant now);
  // A datagram that was not looked into yet.
  void OpenDatagram(std::span<const uint8_t> datagram, const ReceivedDatagram& origin, Instant now);
  // Session data that is being opened: its header, and its text, plain if it is authentic.
  void OpenData(std::span<const uint8_t> header, std::span<const uint8_t> text, bool authentic,
                PeerIndex peer, const ReceivedDatagram& origin, Instant now);
  // What becomes of it, unless it is dropped.
  void Judge(std::string_view verdict) { current_.verdict = verdict; }
  // The end of the packet: it is kept if it has a verdict.
  void Close();

  // DropObserver. Without an open packet (a port could not take a batch) it is a record of its own.
  void OnDrop(DropReason reason, uint64_t packets) override;

 private:
  void ReadInner(std::span<const uint8_t> packet);
  void Keep(const TracedPacket& packet);

  std::atomic<bool> on_ = false;
  TracedPacket current_;
  bool is_open_ = false;
  Instant last_;  // time of the last packet

  // ORDER: relaxed; a trace that begins may show packets that passed the filter of the one before.
  std::atomic<PeerIndex> peer_ = kNoPeer;
  std::atomic<bool> drops_only_ = false;
  // ORDER: who fills or empties a record publishes that by a release, the other side acquires it.
  std::vector<TracedPacket> ring_;
  std::atomic<size_t> written_ = 0;
  std::atomic<size_t> read_ = 0;
  Counter64 missed_;
  uint64_t missed_before_ = 0;  // the reader's: before this trace
};

}  // namespace omni
