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
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/config/config.h"
#include "controller/core/failure_log.h"
#include "controller/core/handshakes.h"
#include "controller/core/peer_table.h"
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

class Controller : public DataplaneListener {
 public:
  struct Options {
    Config config;  // with pair secrets
    PeerKey self;
    noise::HandshakeEngine::Options engine;
    std::function<Instant()> clock = Now;
    // LIMIT: how long a session that ended unnoticed can be taken for a live one; one call of a few
    // kilobytes per hundred peers.
    std::chrono::milliseconds session_check_interval{10'000};
  };
  Controller(boost::asio::io_context& loop, DataplaneClient& dataplane, Options options);

  // Takes the peers of the configuration and of the state directory. The error names the file.
  absl::Status LoadPeers();
  void Start() { dataplane_.Start(this); }

  const Config& config() const { return config_; }
  const PeerKey& self() const { return self_; }
  const PeerTable& peers() const { return peers_; }
  const FailureLog& failures() const { return failures_; }
  DataplaneView dataplane_view() const;
  // What handshakes offer now.
  const std::vector<Cipher>& offered_ciphers() const { return offered_ciphers_; }
  // Asks the dataplane what it is now (offloads may fall back while it runs), then calls `done`;
  // without an answer within a second the view stays as it was.
  void RefreshInfo(std::function<void()> done);
  uint64_t generation() const { return sync_.generation(); }
  const std::string& last_reload_error() const { return last_reload_error_; }
  PeerState StateOf(const Peer& peer) const;
  Instant started() const { return started_; }
  Instant now() const { return clock_(); }
  // Of live sessions and of handshakes under way.
  size_t reserved_tags() const { return handshakes_.engine().reserved_tags(); }
  DataplaneClient& dataplane() { return dataplane_; }

  // ALREADY_EXISTS unless it is new, or the very same peer of the API.
  absl::StatusOr<const Peer*> AddPeer(PeerSpec spec);
  // NOT_FOUND; FAILED_PRECONDITION for a peer of the configuration.
  absl::Status RemovePeer(std::string_view name_or_id);
  // All or nothing; the error lists every cause and is kept as last_reload_error().
  absl::StatusOr<ReloadResult> Reload();

  void Initiate(const NodeId& id) { handshakes_.Initiate(id); }
  // Calls `ready` once, when a session of the peer is next confirmed. False: no such
  // peer, or too many wait.
  bool AwaitSession(const NodeId& id, std::function<void()> ready);

  // `done` gets the round-trip time; or an error when the request could not be sent, or the
  // dataplane went away. A lost echo is never answered: ForgetEcho() the token.
  using EchoDone = std::function<void(absl::StatusOr<Duration>)>;
  uint64_t SendEcho(const NodeId& id, uint32_t padding, EchoDone done);
  void ForgetEcho(uint64_t token) { echoes_.erase(token); }

  // DataplaneListener
  void OnConnected(const std::string& boot_id) override;
  void OnDisconnected(const absl::Status& why) override;
  void OnPacketIn(const dataplane::v1::PacketIn& packet) override;
  void OnEvent(const dataplane::v1::Event& event) override;

 private:
  dataplane::v1::Node NodeMessage();
  // After a change of the configuration or of what the dataplane has.
  void OfferCiphers();

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
  void OnSessionConfirmed(const dataplane::v1::SessionConfirmed& event);
  void OnSessionEnded(const dataplane::v1::SessionEnded& event);
  void OnEchoReply(const dataplane::v1::EchoReply& event);
  // `why` as the dataplane says it; unspecified when its event was missed.
  void Forget(Peer& peer, const LiveSession& session, dataplane::v1::SessionEnded::Reason why);
  void DropGhosts(const std::set<SessionId>& known, const dataplane::v1::GetStateResponse& state);
  void Confirm(Peer& peer, Cipher cipher);
  void MeasureRtt(Peer& peer);
  void InitiateSoon(const NodeId& id);
  Peer* FindPeer(const std::string& raw_id) const;

  // Peers (management.cc)
  absl::Status CheckPeersOf(const Config& wanted) const;
  ReloadResult ApplyConfig(Config wanted);
  void TakePeer(PeerSpec spec, PeerOrigin origin);
  void DropPeer(Peer& peer);
  void AfterChange(Peer& peer, const PeerSpec& before);
  void EndSessions(Peer& peer);
  void RemoveSession(const NodeId& peer, const SessionId& id);
  uint64_t EpochOf(const NodeId& id) const;
  void Push();
  std::string ApiPeersFile() const { return config_.state_dir + "/peers.json"; }
  absl::Status SaveApiPeers(const Peer* without, const PeerSpec* with) const;

  boost::asio::io_context& loop_;
  DataplaneClient& dataplane_;
  Config config_;
  const PeerKey self_;
  const std::function<Instant()> clock_;
  const Instant started_;

  PeerTable peers_;
  uint64_t epochs_ = 0;  // given out so far
  FailureLog failures_;
  Handshakes handshakes_;
  StateSync sync_;
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

  std::map<uint64_t, EchoDone> echoes_;
  uint64_t next_echo_;
};

}  // namespace omni
