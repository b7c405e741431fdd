// SPDX-License-Identifier: Apache-2.0
// Hub: the slow half of the dataplane. It holds the desired state and the sessions, tells workers
// through their mailboxes, hears of them through WorkerReports, and runs the timers of all peers.
// Thread-safe: gRPC threads call the operations, one thread calls Tick(), workers report; one
// mutex, not taken on a data packet's way.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "dataplane/hub/channel_watch.h"
#include "dataplane/hub/kernel_control.h"
#include "dataplane/hub/link.h"
#include "dataplane/hub/open_questions.h"
#include "dataplane/hub/path_control.h"
#include "dataplane/hub/path_mtu.h"
#include "dataplane/hub/peer_timers.h"
#include "dataplane/hub/state.h"
#include "dataplane/hub/underlay.h"
#include "dataplane/worker/worker.h"

namespace omni {

struct HubLimits {
  // LIMIT: a peer costs about 1 KiB per worker; 100,000 of them 100 MiB. Sessions: current, next
  // and previous.
  static constexpr uint32_t kPeers = 100'000;
  static constexpr uint32_t kSessionsPerPeer = 3;
  static constexpr uint32_t kAllowedPerPeer = 1024;
  static constexpr uint32_t kChannelsPerSession = 16;
  // LIMIT: 600 bytes each: 10 MiB. Of a pair and direction: some sessions, and handshakes under
  // way.
  static constexpr uint32_t kRelayed = 16'384;
  static constexpr uint32_t kRelayedOfPair = 512;
};

// LIMIT: the interval of handshake retries (docs/PROTOCOL.md). Two sessions of a simultaneous
// initiation are no further apart, and a confirmation that took longer was lost.
inline constexpr Duration kHandshakeRetry = std::chrono::seconds(5);

class Hub final : public WorkerReports {
 public:
  // `link`, `underlay` and the workers outlive the hub's use; workers are set before they run.
  Hub(LinkControl& link, Underlay& underlay) : link_(link), underlay_(underlay) {}
  void SetWorkers(std::vector<Worker*> workers) { workers_ = std::move(workers); }
  // Before the first session; outlives the hub's use.
  void SetChannelWatch(ChannelWatch* watch) { watch_ = watch; }
  // Before the first channel is opened for others; outlives the hub's use.
  void SetRelayWatch(RelayWatch* watch) { relay_watch_ = watch; }
  // Before anything else is called; outlives the hub's use. Without one all channels are workers'.
  void SetKernel(KernelControl* kernel) { kernel_ = kernel; }
  // Likewise.
  void SetPathControl(PathControl* paths) { paths_ = paths; }

  // Where events go while a controller listens. Called with the hub's lock held: it only queues.
  // Gives false when its queue is full. The latest sink wins; ClearSink() with an older number does
  // nothing.
  using Sink = std::function<bool(ControllerEvent)>;
  uint64_t SetSink(Sink sink);
  void ClearSink(uint64_t number);

  // Operations of the contract.
  absl::StatusOr<uint64_t> ApplyState(const StateChange& change);
  StateView GetState(Instant now) const;
  absl::Status InstallSession(SessionSpec spec, Instant now);
  absl::Status RemoveSession(const SessionId& id);
  absl::Status SendEcho(const NodeId& peer, uint64_t token, uint32_t padding, Instant now);
  // Tries a path to the peer, answered as an echo is. FAILED_PRECONDITION as well when there was no
  // traffic with it of late.
  absl::Status TryPath(const NodeId& peer, uint64_t token, const Endpoint& to, Instant now);
  // From now on packets go there; an echo goes first, so that the peer follows.
  absl::Status MovePeer(const NodeId& peer, const Endpoint& to, Instant now);
  // Opens channels of one peer for another, or prolongs them. Both must have a session: by it this
  // node knows where they are.
  absl::Status OpenRelay(const RelaySpec& spec, Instant now);
  // Empty: nothing is relayed.
  std::optional<RelayView> GetRelay() const;
  // The part of it that the workers did not see.
  RelayTraffic GetRelayedAtXdp() const {
    return relay_watch_ == nullptr ? RelayTraffic() : relay_watch_->Relayed();
  }
  void SendControl(const UdpPath& path, std::vector<uint8_t> datagram);
  std::vector<PeerTotals> GetPeerTotals(Instant now) const;
  // Of the in-kernel path, by omni_drop_reason and omni_kernel_counter; empty without one.
  std::vector<uint64_t> GetKernelCounters() const;
  std::vector<std::vector<uint64_t>> GetKernelCountersByCpu() const;
  Explanation Explain(const PacketQuestion& packet, Instant now) const;
  // Empty: there is none such (any more).
  std::optional<PeerIndex> IndexOf(const NodeId& id) const;
  std::optional<NodeId> IdOf(PeerIndex index) const;
  void CountIgnoredPacketOut() { ignored_packet_out_.fetch_add(1); }
  uint64_t ignored_packet_out() const { return ignored_packet_out_.load(); }

  // Timers and expiry. Call a few times a second.
  void Tick(Instant now);

  // Set once a worker cannot go on: the process has to end.
  std::optional<std::string> failure() const;

  // WorkerReports.
  void HandshakeWanted(PeerIndex peer, Instant now) override;
  void Confirmed(SessionHandle session) override;
  void Roamed(uint32_t worker, PeerIndex peer, SessionHandle session, const UdpPath& path) override;
  void EchoReplied(PeerIndex peer, uint64_t token, Duration rtt, Instant now) override;
  std::optional<DropReason> PacketIn(std::span<const uint8_t> datagram,
                                     const Endpoint& from) override;
  void Failed(const std::string& cause) override;

 private:
  // LIMIT: echoes of one peer that may be unanswered.
  static constexpr size_t kMaxEchoes = 1024;
  // LIMIT: more probes than a search ever has under way.
  static constexpr size_t kMaxProbes = 64;

  struct Session {
    SessionHandle handle = 0;
    SessionId id{};
    SessionRole role = SessionRole::kInitiator;
    Cipher cipher = Cipher::kChaCha20Poly1305;
    Instant created;
    SessionTimers timers;
    std::vector<std::shared_ptr<ReceiveChannel>> receive;
    std::vector<std::shared_ptr<SendChannel>> send;
    // Channels that the kernel owns.
    std::vector<std::pair<ChannelId, KernelSlot>> kernel_receive;
    std::vector<std::pair<ChannelId, KernelSlot>> kernel_send;
  };
  using SessionPtr = std::unique_ptr<Session>;

  // From one peer to another.
  using RelayPair = std::pair<NodeId, NodeId>;
  struct Relayed {
    RelayPair pair;
    Instant expires;
  };
  struct PairState {
    std::shared_ptr<RelayQuota> quota;
    uint32_t number = 0;  // for the relay watch
    uint32_t channels = 0;
    std::optional<Instant> empty_since;
  };

  struct Peer {
    PeerSpec spec;
    PeerIndex index = kNoPeer;
    UdpPath path;
    std::vector<std::shared_ptr<PeerActivity>> activity;  // by worker
    KernelTraffic kernel_received;                        // on channels that have ended
    SessionPtr current;
    SessionPtr next;
    SessionPtr previous;
    PeerTimers timers;
    Endpoint told_endpoint;  // to the controller
    Instant last_handshake_event;
    Instant waiting_since;  // packets wait while `next` is unconfirmed; zero: they do not
    OpenQuestions<uint64_t, kMaxEchoes> echoes;  // the controller's tokens
    PathMtuSearch mtu;
    bool mtu_is_stale = true;  // the underlay was not asked since something changed
    PathMtu published;         // what the workers were told
    OpenQuestions<uint32_t, kMaxProbes> probes;  // sizes with the outer headers
  };

  // All below with the lock held.
  absl::Status CheckChange(const StateChange& change) const;
  void Upsert(const PeerSpec& spec);
  void Remove(const NodeId& id);
  void RebuildRoutes();
  LinkState WantedLink(const NodeSpec& node) const;
  absl::Status CheckSession(const SessionSpec& spec, const Peer& peer) const;
  SessionPtr MakeSession(SessionSpec spec, const Peer& peer, Instant now);
  void AddReceive(Session& session, const Peer& peer, ChannelSpec spec);
  void AddControlSend(Session& session, const Peer& peer, ChannelSpec spec);
  void Promote(Peer& peer, SessionPtr session);
  void End(Peer& peer, SessionPtr session, SessionEnd reason);
  void PublishSendSession(Peer& peer);
  void SetPath(Peer& peer, const UdpPath& path, std::optional<uint32_t> except_worker);
  void TellEndpoint(Peer& peer);
  absl::StatusOr<Peer*> FindUsable(const NodeId& id, Instant now);
  void PostEcho(Peer& peer, uint64_t controller_token, uint32_t padding);
  void TickPeer(Peer& peer, Instant now);
  void RestartPathMtu(Peer& peer);
  void TickPathMtu(Peer& peer, const PeerTraffic& traffic, Instant now);
  void SendProbes(Peer& peer, const std::vector<uint32_t>& sizes);
  void PublishPathMtu(Peer& peer);
  uint32_t LargestFor(const Peer& peer, uint32_t interface_mtu) const;
  uint32_t TunMtu(const NodeSpec& node) const;
  void AskForHandshake(Peer& peer, HandshakeReason reason, Instant now);
  bool Emit(ControllerEvent event);
  Peer* FindPeer(const NodeId& id);
  Peer* FindPeer(PeerIndex index);
  void PostAll(const std::function<void(Worker&)>& order);
  PeerTraffic TrafficOf(const Peer& peer) const;
  KernelTraffic KernelReceived(const Peer& peer) const;
  SessionView ViewOf(const Session& session, SessionSlot slot, Instant now) const;
  void ConfirmedLocked(SessionHandle session);
  void ExplainSession(const Peer& peer, Instant now, Explanation& out) const;
  void ExplainPath(const Peer& peer, const PacketQuestion& packet, Explanation& out) const;
  void HandleKernelEvents();
  // Channels of others (hub_relay.cc)
  void SetRelayLimits(const std::optional<RelayLimits>& limits);
  absl::Status CheckRelay(const RelaySpec& spec) const;
  template <typename Condition>
  void CloseRelays(Condition is_over);
  void CloseRelaysOf(const NodeId& id);
  void TickRelays(Instant now);

  // Without the lock: they speak to the kernel, and workers must not wait for it. One at a time, by
  // change_mutex_.
  void ApplyLink(const LinkState& wanted);
  void RestoreLink();

  std::mutex change_mutex_;  // held over a whole change of the desired state; taken before mutex_
  mutable std::mutex mutex_;
  LinkControl& link_;
  ChannelWatch* watch_ = nullptr;
  RelayWatch* relay_watch_ = nullptr;
  KernelControl* kernel_ = nullptr;
  PathControl* paths_ = nullptr;
  Underlay& underlay_;
  int lookups_left_ = 0;  // of the underlay, in this tick
  std::vector<Worker*> workers_;
  Sink sink_;
  uint64_t sink_number_ = 0;
  uint64_t generation_ = 0;
  NodeSpec node_;
  absl::flat_hash_map<NodeId, std::unique_ptr<Peer>> peers_;
  std::vector<Peer*> by_index_;
  std::vector<PeerIndex> free_indices_;
  SessionHandle next_handle_ = 1;
  absl::flat_hash_set<ChannelId> receive_ids_;  // of all live sessions
  absl::flat_hash_map<SessionHandle, PeerIndex> unconfirmed_;
  // Whose the channels are that the kernel receives on.
  absl::flat_hash_map<ChannelId, std::pair<PeerIndex, SessionHandle>> kernel_channels_;
  absl::flat_hash_map<ChannelId, Relayed> relayed_;
  absl::flat_hash_map<RelayPair, PairState> relay_pairs_;
  std::shared_ptr<RelayQuota> relay_total_;  // null: nothing is relayed
  uint32_t next_relay_pair_ = 1;
  Instant relays_checked_;
  std::optional<std::string> failure_;
  std::atomic<uint64_t> ignored_packet_out_ = 0;
};

}  // namespace omni
