// SPDX-License-Identifier: Apache-2.0
// Controller: decides. Holds the peers, keeps the dataplane's state equal to them, runs handshakes
// and answers for the management API and the metrics, which read it directly. Owned by main();
// everything runs on the one thread of the event loop, and nothing in it blocks. A dataplane that
// kept running is adopted; one that restarted gets the whole state and new handshakes at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/config/config.h"
#include "controller/core/discovery.h"
#include "controller/core/failure_log.h"
#include "controller/core/handshakes.h"
#include "controller/core/paths.h"
#include "controller/core/peer_table.h"
#include "controller/core/port_searches.h"
#include "controller/core/revocations.h"
#include "controller/core/state_sync.h"
#include "controller/dataplane_client/dataplane_client.h"

namespace omni {

struct ReloadResult {
  uint32_t added = 0;
  uint32_t removed = 0;
  uint32_t changed = 0;
};

// The dataplane as last heard of.
struct DataplaneView {
  bool connected = false;  // and in the state that we want
  std::string error;       // why not
  dataplane::v1::GetInfoResponse info;
  Instant info_time;
};

// What an administrator wants of the node: with kDown it has no session, carries no traffic, is not
// registered anywhere, and answers nobody.
enum class NodeState : uint8_t { kUp, kDown };

// What a Nucleus told of another node.
struct Learned {
  NodeRecord record;
  bool unlisted = false;              // the Nucleus does not tell it any more
  std::vector<std::string> problems;  // why not all of it is used
};

class Controller : public DataplaneListener {
 public:
  struct Options {
    Config config;  // with pair secrets
    PeerKey self;
    noise::HandshakeEngine::Options engine;
    // For discovery, when the configuration names a Nucleus or wants beacons; not owned.
    const Identity* identity = nullptr;
    // For that, and to revoke nodes; unset only in tests, with engine.cluster_psk instead.
    std::optional<ClusterKeyring> cluster;
    std::function<Instant()> clock = Now;
    std::function<std::vector<IpAddress>(const std::string&)> interfaces = InterfaceAddresses;
    std::function<std::vector<NetworkLink>(const std::string&)> links = NetworkLinks;
    // LIMIT: how long a session that ended unnoticed can be taken for a live one; one call of a few
    // kilobytes per hundred peers.
    std::chrono::milliseconds session_check_interval{10'000};
  };
  Controller(boost::asio::io_context& loop, DataplaneClient& dataplane, Options options);

  // Takes the peers of the configuration, and what the state directory holds. The error names the
  // file.
  absl::Status LoadPeers();
  void Start() { dataplane_.Start(this); }
  // Says goodbye to the Nucleus; sessions carry on.
  void Stop() {
    if (discovery_) discovery_->Stop();
  }

  const Config& config() const { return config_; }
  const PeerKey& self() const { return self_; }
  const PeerTable& peers() const { return peers_; }
  const FailureLog& failures() const { return failures_; }
  // Unset: the configuration names no Nucleus.
  std::optional<NucleusView> nucleus_view() const {
    const bool has_nucleus = discovery_ && !config_.nucleus.addresses.empty();
    return has_nucleus ? std::optional(discovery_->view()) : std::nullopt;
  }
  // Unset: nodes tell each other nothing here: neither a Nucleus nor beacons are configured.
  std::optional<MeshView> mesh_view() const {
    return discovery_ ? std::optional(discovery_->mesh()) : std::nullopt;
  }
  // Whether a learned peer is known from other nodes, and not from a Nucleus.
  bool IsToldByNodes(const NodeId& id) const { return discovery_ && discovery_->IsToldByNodes(id); }
  // Why this node has no virtual address; empty where it has one, or wants none.
  std::string AddressTrouble() const;
  // How this machine is connected; empty without a Nucleus.
  NetworkView network() const { return discovery_ ? discovery_->network() : NetworkView(); }
  // Looks at it anew, then calls `done`.
  void CheckNetwork(std::function<void()> done) {
    if (!discovery_) return done();
    discovery_->CheckNetwork(std::move(done));
  }
  const std::map<NodeId, Learned>& learned() const { return learned_; }
  // Gives the addresses that the Nucleus allocated back, until the next start or reload.
  // FAILED_PRECONDITION: they are configured.
  absl::Status ReleaseAddresses();
  AddressSource address_source() const { return address_source_; }
  DataplaneView dataplane_view() const;
  // What handshakes offer now.
  const std::vector<Cipher>& offered_ciphers() const { return offered_ciphers_; }
  // Asks the dataplane what it is now (offloads may fall back while it runs), then calls `done`;
  // without an answer within a second the view stays as it was.
  void RefreshInfo(std::function<void()> done);
  uint64_t generation() const { return sync_.generation(); }
  const std::string& last_reload_error() const { return last_reload_error_; }
  PeerState StateOf(const Peer& peer) const;
  // The kind of way that packets to the peer take; unset while there is no session.
  std::optional<PathClass> PathOf(const Peer& peer) const;
  // Unset: the ports of hard NATs are not searched.
  const PortSearches* searches() const { return searches_.get(); }
  Instant started() const { return started_; }
  Instant now() const { return clock_(); }
  // Of live sessions and of handshakes under way.
  size_t reserved_tags() const { return handshakes_.engine().reserved_tags(); }
  DataplaneClient& dataplane() { return dataplane_; }

  // What the administrator wants, over restarts (node_state.cc). The error names the file that
  // could not be written; nothing has changed then.
  absl::Status SetNodeState(NodeState state);
  NodeState node_state() const { return node_state_; }

  // ALREADY_EXISTS unless it is new, or the very same peer of the API.
  absl::StatusOr<const Peer*> AddPeer(PeerSpec spec);
  // NOT_FOUND; FAILED_PRECONDITION for a peer of the configuration.
  absl::Status RemovePeer(std::string_view name_or_id);
  // What the API says of the packets' ways.
  struct PathChange {
    bool reset = false;  // forget first what it said before
    PathWishes say;
  };
  absl::Status SetPaths(const PathChange& change);
  const PathWishes& api_paths() const { return api_paths_; }
  // Calls `done` once the dataplane has what is wanted now, after a second at the latest.
  void WhenApplied(std::function<void()> done);

  // Excludes a node, by name or id, from the cluster: here at once, and everywhere else by the
  // Nucleus and from node to node. INVALID_ARGUMENT names the field; NOT_FOUND; RESOURCE_EXHAUSTED.
  // One that is revoked already is no error. (revoking.cc)
  absl::StatusOr<const RevocationList::Entry*> Revoke(std::string_view node,
                                                      const std::string& reason);
  const RevocationList& revocations() const { return revocations_.list(); }
  // The secrets that this node holds.
  const std::optional<ClusterKeyring>& keyring() const { return keyring_; }
  // Of the secret that a peer uses; unset: not known, or none of ours. (secrets.cc)
  std::optional<ClusterId> ClusterOf(const Peer& peer) const;

  // All or nothing; the error lists every cause and is kept as last_reload_error().
  absl::StatusOr<ReloadResult> Reload();

  void Initiate(const NodeId& id) { handshakes_.Initiate(id); }
  // Calls `ready` once, when a session of the peer is next confirmed. False: no such
  // peer, or too many wait.
  bool AwaitSession(const NodeId& id, std::function<void()> ready);

  // `done` gets the round-trip time; or an error when the request could not be sent, or the
  // dataplane went away. A lost echo is never answered: LoseEcho() the token when it was waited for
  // long enough, ForgetEcho() when nobody waits any more.
  using EchoDone = std::function<void(absl::StatusOr<Duration>)>;
  uint64_t SendEcho(const NodeId& id, uint32_t padding, EchoDone done);
  void LoseEcho(const NodeId& id, uint64_t token);
  void ForgetEcho(uint64_t token) { echoes_.erase(token); }

  // What the Nucleus tells of other nodes (learned.cc)
  void OnRecord(const NodeRecord& record);
  void OnUnlisted(const NodeId& id);
  // What it, or another node, says that a member says. (revoking.cc)
  RevocationList::Outcome OnRevocation(const signal::v1::SignedRevocation& message);

  // Addresses of ours that it gives, or (none) that are lost (own_addresses.cc). The error says why
  // they cannot be used here.
  absl::Status OnAllocated(const std::vector<InterfaceAddress>& addresses);

  // Session data can go through `relay`; unset: not any more (relaying.cc)
  void OnRelay(const Endpoint& relay);
  void OnRelayedHandshake(const NodeId& from, std::span<const uint8_t> datagram);
  bool IsRelayed(const Peer& peer) const { return IsRelayPath(peer.id(), peer.endpoint); }
  // The node that relays for a peer; null: it is the Nucleus, or the peer is not relayed.
  // (peer_relaying.cc)
  const Peer* RelayOf(const Peer& peer) const;
  // What was asked of this node as a relay: handshake messages passed on, and what was refused.
  struct RelayCounters {
    uint64_t handshakes = 0;
    uint64_t refused = 0;
  };
  const RelayCounters& relay_counters() const { return relay_counters_; }

  // DataplaneListener
  void OnConnected(const std::string& boot_id) override;
  void OnDisconnected(const absl::Status& why) override;
  void OnPacketIn(const dataplane::v1::PacketIn& packet) override;
  void OnEvent(const dataplane::v1::Event& event) override;

 private:
  dataplane::v1::Node NodeMessage();
  void SendDatagram(const Endpoint& to, const std::optional<IpAddress>& from,
                    std::span<const uint8_t> datagram);
  Endpoint DirectEndpointOf(const Peer& peer) const;
  std::vector<std::pair<NodeId, Endpoint>> DirectSessions() const;
  void OnRelocated(const NodeId& id);
  // After a change of the configuration or of what the dataplane has.
  void OfferCiphers();

  // Peers that a Nucleus told of (learned.cc)
  void DropUnlisted();
  void Reconcile(const NodeId& id);
  void ApplyRecord(const NodeId& id);
  void ReconcileTroubled();
  void ReconcileAll();
  void TellEngine(const NodeRecord& record);
  PeerSpec SpecOf(Learned& learned, const Peer* peer) const;
  std::vector<Endpoint> CandidatesOf(const NodeRecord& record) const;
  void SetCandidates(const NodeId& id, const std::vector<Endpoint>& candidates);
  bool IsInOwnNetwork(const IpAddress& address) const;
  void YieldTo(const PeerSpec& spec);

  // Secrets of the cluster (secrets.cc)
  void TakeSecrets(ClusterKeyring secrets);
  void LiftRevocations();
  void TellSecretsOf(const NodeRecord& record);
  std::optional<ClusterId> SharedSecretWith(const NodeId& id) const;

  // Revoked nodes (revoking.cc)
  absl::StatusOr<Revocation> NodeToRevoke(std::string_view text) const;
  void Expel(const Revocation& revocation);
  void Disable(Peer& peer, const Revocation& revocation);
  void SaveRevocationsSoon();

  // The Nucleus as a relay (relaying.cc)
  void OnEstablished(const noise::EstablishedSession& session);
  void CallRelayed(const Endpoint& former);
  std::vector<PortSearches::Target> SearchTargets() const;
  void StartSearches();

  // Peers as relays (peer_relaying.cc)
  struct RelayPoint {
    NodeId via;
    Endpoint at;
    bool is_up = false;  // false: it is not reached any more
    friend bool operator==(const RelayPoint&, const RelayPoint&) = default;
  };
  bool Claims(const Peer& peer, const Endpoint& at) const;
  bool CanRelay(const Peer& peer) const;
  const RelayPoint* RelayAt(const NodeId& peer, const Endpoint& at) const;
  bool IsRelayPath(const NodeId& peer, const Endpoint& at) const;
  Endpoint RelayFor(const NodeId& id) const;
  void NoteWilling(const NodeId& id);
  // Its session or its endpoint has changed.
  void OnRelayPeer(const NodeId& id);
  void OnConfirmedRelay(const NodeId& id);
  void UpdateRelayPoints();
  void MoveRelayed(const RelayPoint& former);
  void TellRelays();
  void CallStranded();
  void CallIfStranded(const Peer& peer);
  void KeepRelaysSoon();
  void KeepRelays();
  void AskRelay(Peer& peer);
  void CallRelays(size_t wanted);
  bool Divert(const noise::Datagram& datagram);
  // `point`: the node that relays; null: the Nucleus.
  void SendByRelay(const noise::Datagram& datagram, const RelayPoint* point);
  void OpenByRelay(const NodeId& peer, const RelayPoint* point, std::span<const uint64_t> channels,
                   uint32_t seconds);
  void OnPassedHandshake(const NodeId& via, const NodeId& from, std::span<const uint8_t> datagram);
  void OnRelayClosed(const NodeId& via);
  bool MayRelay(const NodeId& from, const NodeId& to) const;
  void OnPass(const NodeId& from, const NodeId& to, std::span<const uint8_t> datagram);
  void Pass(const NodeId& from, const NodeId& to, std::span<const uint8_t> datagram);
  void OnOpenRelay(const NodeId& from, const NodeId& to, const signal::v1::OpenRelay& message);
  void LoseRelayed();
  void TellRelayLost(const NodeId& id);

  // Addresses that a Nucleus gave (own_addresses.cc)
  void LoadAddresses();
  absl::Status CheckAllocated(const InterfaceAddress& own) const;
  void TakeAddresses(std::vector<InterfaceAddress> addresses);
  void SetAddressSource(AddressSource source);
  std::string AddressesFile() const { return config_.state_dir + "/nucleus-addresses.bin"; }

  // Up and down (node_state.cc)
  absl::Status LoadNodeState();
  void GoDown();
  void GoUp();
  std::string DownFile() const { return config_.state_dir + "/down"; }

  // Connection (controller.cc)
  void ReadInfo();
  void TakeInfo(const dataplane::v1::GetInfoResponse& info);
  void Resync();
  void ResyncLater(const absl::Status& why);
  void Adopt(const dataplane::v1::GetStateResponse& state);
  void AdoptSessions(Peer& peer, const dataplane::v1::PeerState* state);
  void OnApplied();
  void CheckSessionsLater();
  void CheckSessions();

  // Sessions and events (events.cc)
  void OnInstalled(const noise::EstablishedSession& session);
  void OnRefused(const noise::EstablishedSession& session, const absl::Status& status);
  void OnFailure(const noise::Failure& failure);
  void OnCall(const noise::Call& call);
  void OnMove(const NodeId& id, const Endpoint& to);
  void OnOutcome(const NodeId& id, LossWindow::Outcome outcome);
  void OnSessionConfirmed(const dataplane::v1::SessionConfirmed& event);
  void OnSessionEnded(const dataplane::v1::SessionEnded& event);
  void OnEchoReply(const dataplane::v1::EchoReply& event);
  // `why` as the dataplane says it; unspecified when its event was missed.
  void Forget(Peer& peer, const LiveSession& session, dataplane::v1::SessionEnded::Reason why);
  void DropGhosts(const std::set<SessionId>& known, const dataplane::v1::GetStateResponse& state);
  void Confirm(Peer& peer, Cipher cipher);
  void MeasureRtt(Peer& peer);
  void InitiateSoon(const NodeId& id);
  void MovePeer(Peer& peer, const Endpoint& to);
  Peer* FindPeer(const std::string& raw_id) const;

  // Peers (management.cc)
  absl::Status CheckPeersOf(const Config& wanted) const;
  absl::Status CheckFreeOfConfigured(const PeerSpec& spec) const;
  ReloadResult ApplyConfig(Config wanted);
  void TakePeer(PeerSpec spec, PeerOrigin origin);
  void Enable(Peer& peer);
  void DropPeer(Peer& peer);
  void AfterChange(Peer& peer, const PeerSpec& before);
  void EndSessions(Peer& peer);
  void RemoveSession(const NodeId& peer, const SessionId& id);
  uint64_t EpochOf(const NodeId& id) const;
  void Push();
  std::string ApiPeersFile() const { return config_.state_dir + "/peers.json"; }
  absl::Status SaveApiPeers(const Peer* without, const PeerSpec* with) const;

  // Ways of packets (paths.cc)
  absl::Status LoadPaths();
  std::string PathsFile() const { return config_.state_dir + "/paths.json"; }

  boost::asio::io_context& loop_;
  DataplaneClient& dataplane_;
  Config config_;
  const PeerKey self_;
  std::optional<ClusterKeyring> keyring_;
  const std::function<Instant()> clock_;
  const Instant started_;

  NodeState node_state_ = NodeState::kUp;
  PeerTable peers_;
  std::map<NodeId, Learned> learned_;
  std::set<NodeId> troubled_;  // that have problems
  Revocations revocations_;
  bool save_revocations_ = false;
  std::unique_ptr<Discovery> discovery_;
  Endpoint relay_;  // the last one; unset: there was none
  bool relay_is_up_ = false;
  std::set<NodeId> willing_;              // nodes that say that they relay
  std::vector<RelayPoint> relay_points_;  // those of them in reach
  std::set<NodeId> doubtful_relays_;      // that have not answered
  Instant relays_asked_;
  boost::asio::steady_timer relay_timer_;
  struct Opening {
    size_t pending = 0;                                             // calls of the dataplane
    std::vector<std::pair<NodeId, std::vector<uint8_t>>> deferred;  // handshakes, and whom for
  };
  std::map<NodeId, Opening> opening_;  // by who opens
  std::set<NodeId> relayed_for_;       // who has opened something here
  std::set<NodeId> lost_relayed_;      // and does not know that it is closed
  RelayCounters relay_counters_;
  AddressSource address_source_ = AddressSource::kConfigured;
  uint64_t epochs_ = 0;  // given out so far
  FailureLog failures_;
  Handshakes handshakes_;
  StateSync sync_;
  Paths paths_;
  std::unique_ptr<PortSearches> searches_;  // null: off
  std::string last_reload_error_;

  bool connected_ = false;   // the stream is open
  bool adopted_ = false;     // and we know the sessions that the dataplane holds
  uint64_t connection_ = 0;  // answers of an older one mean nothing
  std::string disconnected_why_ = "not connected yet";
  std::string boot_id_;  // of the dataplane whose sessions we know
  dataplane::v1::GetInfoResponse info_;
  Instant info_time_;
  std::vector<Cipher> offered_ciphers_ = {Cipher::kChaCha20Poly1305};
  boost::asio::steady_timer resync_timer_;
  const std::chrono::milliseconds session_check_interval_;
  boost::asio::steady_timer session_check_timer_;
  std::set<NodeId> call_when_applied_;
  std::set<NodeId> not_to_adopt_;      // what the dataplane holds of them is void
  std::set<NodeId> untold_endpoints_;  // configured anew, not yet pushed
  PathWishes api_paths_;
  bool node_pushed_ = false;  // what the dataplane is may change when that is applied
  std::vector<std::function<void()>> when_applied_;

  std::map<uint64_t, EchoDone> echoes_;
  uint64_t next_echo_;
};

}  // namespace omni
