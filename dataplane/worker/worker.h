// SPDX-License-Identifier: Apache-2.0
// Worker: one event loop, run to completion. It owns its ports, its tables, its AEAD and both
// pipelines; everything from outside comes through its mailbox, datagrams of its channels that
// another worker received through a ring. Run() is the body of its thread; RunOnce() is the same
// without waiting, for tests.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/paths.h"
#include "dataplane/core/aead.h"
#include "dataplane/core/control_filter.h"
#include "dataplane/core/forwarder.h"
#include "dataplane/core/receiver.h"
#include "dataplane/core/sender.h"
#include "dataplane/core/tables.h"
#include "dataplane/worker/control_opener.h"
#include "dataplane/worker/handover_ring.h"
#include "dataplane/worker/mailbox.h"
#include "dataplane/worker/reports.h"

namespace omni {

struct WorkerCounters {
  Counter64 wakeups;
  Counter64 rx_messages;
  Counter64 tun_reads;
  Counter64 control_datagrams;
  Counter64 handovers;
};

class Worker final : public WorkerEvents {
 public:
  struct Parts {
    uint32_t index = 0;
    uint32_t workers = 1;
    std::unique_ptr<Aead> aead;
    std::unique_ptr<UdpPort> udp;
    std::unique_ptr<TunPort> tun;
    std::vector<int> udp_fds;  // to wait on; none for in-memory ports
    int tun_fd = -1;
    WorkerReports* reports = nullptr;  // outlives the worker
    ControlOpener* control = nullptr;  // likewise; null: the kernel owns no channel
  };
  explicit Worker(Parts parts);

  // Before Run(): all workers by index, this one included.
  void SetSiblings(std::vector<Worker*> siblings) { siblings_ = std::move(siblings); }

  void Run();
  void Stop();  // from any thread

  // From any thread: whether Run() sleeps while there is nothing to do.
  void SetPolling(Polling polling);

  // Works off everything that is ready, without waiting.
  void RunOnce(Instant now);

  Mailbox<Worker>& mailbox() { return mailbox_; }
  bool supports(Cipher cipher) const { return parts_.aead->Supports(cipher); }
  const DropCounters& drops() const { return tables_.drops; }
  const WorkerCounters& counters() const { return counters_; }
  // What went through here from one node to another.
  const RelayCounters& relayed() const { return forwarder_.counters(); }
  // Of this worker's packets; off until the reader begins.
  PacketTrace& trace() { return trace_; }

  // Orders: run on the worker's thread, by way of the mailbox.
  void SetRoutes(std::shared_ptr<const RouteTable> routes) { tables_.routes = std::move(routes); }
  void SetControlKeys(const ControlKeys& keys) { filter_.SetKeys(keys); }
  void AddPeer(PeerIndex index, std::shared_ptr<PeerActivity> activity);
  void RemovePeer(PeerIndex index);
  void SetPath(PeerIndex index, const UdpPath& path);
  void AddChannel(std::shared_ptr<ReceiveChannel> channel);
  void RemoveChannel(ChannelId id);
  void OpenRelay(ChannelId id, const RelayRoute& route) { forwarder_.Open(id, route); }
  void CloseRelay(ChannelId id) { forwarder_.Close(id); }
  void SetSession(PeerIndex index, std::shared_ptr<const SendSession> session);
  void SendKeepalive(PeerIndex index);
  // As long as the peer is where `path` says: what was found of another way is of no use.
  void SetPathMtu(PeerIndex index, const UdpPath& path, const PathMtu& mtu);
  // An echo request of 24 + padding bytes; `token` comes back in EchoReplied().
  void SendEcho(PeerIndex index, uint64_t token, uint32_t padding);
  // A probe that is `bytes` long as an inner packet; answered as an echo is.
  void SendProbe(PeerIndex index, uint64_t token, uint32_t bytes);
  // A try of another path; answered as an echo is.
  void SendTry(PeerIndex index, uint64_t token, const Endpoint& to);
  void SendControl(const UdpPath& path, std::span<const uint8_t> datagram);

 private:
  enum Source : uint8_t { kUdp = 1, kTun = 2, kMailbox = 4 };
  // LIMIT: datagram messages (of the kernel's sockets at most 8, which may hold 64 each) and
  // super-packets taken from one side before the other has its turn.
  static constexpr size_t kReceiveBatch = 64;
  static constexpr int kTunBatch = 16;
  // LIMIT: rounds before the mailbox and the clock are looked at again.
  static constexpr int kMaxRounds = 32;

  // Takes one turn at each ready side; gives what may still be ready.
  unsigned Round(unsigned ready, Instant now);
  bool ReceiveTurn(Instant now);
  bool SendTurn(Instant now);
  void LookAtTrace();
  // Fills echo_.
  void WriteEcho(uint8_t type, uint64_t token, size_t bytes);
  void TakeHandovers(Instant now);
  void WakeSiblings();
  unsigned Wait(int epoll);

  void OnHandshakeWanted(PeerIndex peer) override { parts_.reports->HandshakeWanted(peer, now_); }
  void OnConfirmed(SessionHandle session) override { parts_.reports->Confirmed(session); }
  void OnRoamed(PeerIndex peer, SessionHandle session, const UdpPath& path) override;
  void OnEchoRequest(PeerIndex peer, std::span<const uint8_t> message) override;
  void OnTry(PeerIndex peer, std::span<const uint8_t> message, const UdpPath& path) override;
  void OnEchoReply(PeerIndex peer, std::span<const uint8_t> message, Instant now) override;
  void OnTooBig(std::span<const uint8_t> packet, uint32_t mtu) override;
  void OnControl(std::span<const uint8_t> datagram, const UdpPath& path, Instant now) override;
  void OnHandover(uint32_t worker, std::span<const uint8_t> datagram,
                  const ReceivedDatagram& origin) override;
  void OnControlChannel(std::span<const uint8_t> datagram, const ReceivedDatagram& origin) override;

  Parts parts_;
  WorkerTables tables_;
  WorkerCounters counters_;
  PacketTrace trace_;
  Mailbox<Worker> mailbox_;
  Sender sender_;
  Forwarder forwarder_;
  Receiver receiver_;
  ControlFilter filter_;
  std::vector<Worker*> siblings_;
  std::vector<HandoverRing> inbound_;  // by the index of the worker that writes
  uint64_t handed_over_ = 0;           // bit per sibling that must be woken
  std::vector<uint8_t> echo_;          // scratch for echo messages
  std::vector<uint8_t> opened_;        // what the kernel opens for us
  std::vector<uint8_t> icmp_;          // scratch for messages to the host, headroom in front
  Instant now_;
  std::atomic<bool> stop_ = false;
  std::atomic<Polling> polling_ = Polling::kSleep;
};

}  // namespace omni
