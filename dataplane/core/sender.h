// SPDX-License-Identifier: Apache-2.0
// Sender: the way of a packet from the host to the network. Owned by one worker; pure but for the
// ports it is given.
//
//   1. parse      the inner header is read and checked               ParseInner
//   2. route      its destination names the peer                     RouteTable
//   3. session    the peer's current session, or the waiting room
//   4. segment    super-packets are cut, each behind its header      Segmenter
//                 what the path does not carry: cut smaller, told, or in pieces (sender_large.cc)
//   5. number     each segment takes the channel's next counter
//   6. seal       all segments of the batch, in place                Aead
//   7. send       as trains, one system call for the batch           UdpPort
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/core/aead.h"
#include "dataplane/core/inner_ip.h"
#include "dataplane/core/port.h"
#include "dataplane/core/tables.h"
#include "dataplane/core/waiting_room.h"

namespace omni {

class Sender {
 public:
  // All must outlive the sender.
  Sender(WorkerTables& tables, Aead& aead, UdpPort& port, WorkerEvents& events);

  // A packet from the host. Sealed and sent at the latest by Flush().
  void Send(const HostPacket& packet, Instant now);

  // A message of the dataplane itself to the peer: an echo, or nothing at all (a keepalive).
  void SendMessage(PeerIndex peer, std::span<const uint8_t> message, Instant now);

  // The same for a probe of the path: it goes as one datagram or not at all.
  void SendProbe(PeerIndex peer, std::span<const uint8_t> message, Instant now);

  // The same over another path than the peer's.
  void SendTry(PeerIndex peer, std::span<const uint8_t> message, const UdpPath& path, Instant now);

  // A new session, or none: what waits is sent, or goes on waiting.
  void SetSession(PeerIndex peer, std::shared_ptr<const SendSession> session, Instant now);

  // Forgets what waits for the peer.
  void DropWaiting(PeerIndex peer);

  // Seals and sends everything gathered.
  void Flush();

 private:
  void SendNow(const HostPacket& packet, Instant now);
  void SendTraced(const HostPacket& packet, Instant now);

  // LIMIT: 256 KiB gather up to four super-packets; larger batches gained nothing (measured 16-256
  // KiB).
  static constexpr size_t kArenaBytes = 256 * 1024;
  static constexpr size_t kMaxJobs = 512;

  // Makes room by dropping what waits for peers that did not answer in time.
  void Sweep(Instant now);
  void Keep(PeerSlot& slot, const HostPacket& packet, Instant now);
  // Keeps the packet and asks for a handshake.
  void Wait(PeerIndex index, PeerSlot& slot, const HostPacket& packet, Instant now);
  // Seals `packet` for the peer on a live session.
  void Encapsulate(PeerSlot& slot, const HostPacket& packet, const InnerPacket& inner, Instant now);
  // The same for packets larger than the path carries.
  void EncapsulateLarge(PeerSlot& slot, const HostPacket& packet, const InnerPacket& inner,
                        const Segmenter& segmenter, Instant now);
  void SendInPieces(PeerSlot& slot, const InnerPacket& inner, const Segmenter& segmenter,
                    Instant now);
  // One packet in pieces; gives their number.
  uint32_t AddPieces(const PeerSlot& slot, SendChannel& channel, uint8_t traffic_class,
                     std::span<const uint8_t> packet);
  // Has the packet's sender told, unless it or others were told just now.
  void TellTooBig(std::span<const uint8_t> packet, uint32_t mtu, Instant now);
  // Space for one datagram of `bytes` at the end of a train to `path`; flushes first when the batch
  // is full.
  uint8_t* Reserve(const UdpPath& path, uint8_t traffic_class, uint32_t bytes);
  // Fills in the header and queues the sealing. The text stands behind the header already.
  void Number(SendChannel& channel, uint8_t* header, uint32_t text_bytes);

  WorkerTables& tables_;
  Aead& aead_;
  UdpPort& port_;
  WorkerEvents& events_;
  WaitingRoom waiting_;
  Instant swept_;
  std::vector<uint8_t> arena_;
  size_t arena_used_ = 0;
  std::vector<Train> trains_;
  std::vector<AeadJob> jobs_;
  // Of packets that are too large.
  uint32_t next_packet_id_ = 0;
  std::vector<uint8_t> scratch_;
  double tell_tokens_ = 0;
  Instant tell_filled_;
};

}  // namespace omni
