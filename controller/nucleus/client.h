// SPDX-License-Identifier: Apache-2.0
// NucleusClient: a node's connection to its Nucleus: tries all addresses, shows that it is a member
// once the Nucleus has shown that it is the cluster's, keeps its own record there and learns those
// of others; comes back with growing pauses for as long as it takes. Pure: datagrams and time in,
// datagrams and hooks out. Owned by the controller's Discovery, on the event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ratio>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/identity/cluster.h"
#include "controller/nucleus/known_records.h"
#include "signal/quic/host.h"
#include "signal/record/record.h"
#include "signal/record/revocation.h"

namespace omni {

enum class NucleusState : uint8_t { kWaiting, kResolving, kConnecting, kRegistering, kRegistered };

// Where the virtual addresses of a node come from.
enum class AddressSource : uint8_t {
  kConfigured,
  kAllocated,  // the Nucleus gives them
  kReleasing,  // not any more: what it has given goes back
};

struct NucleusView {
  NucleusState state = NucleusState::kWaiting;
  std::string last_error;           // why it is, or last was, not registered
  Endpoint endpoint;                // of the Nucleus that is talked to
  std::optional<NodeId> node_id;    // its identity
  Endpoint observed;                // where it sees us
  std::optional<Instant> since;     // registered since
  std::optional<Instant> next_try;  // kWaiting
  std::optional<Duration> rtt;
  std::string connection_id;  // of the QUIC connection
  uint64_t revision = 0;
  uint64_t sequence = 0;  // of our record
  size_t nodes = 0;       // known from it
  uint64_t refused_records = 0;
  uint64_t connections = 0;  // registrations so far
  // That this node is no member any more, signed as it must be; it is not registered.
  std::optional<Revocation> revoked;
};

class NucleusClient : public quic::Listener {
 public:
  struct Options {
    const Identity* identity = nullptr;  // not owned
    // Not owned; when it changes, OnSecrets() follows.
    const ClusterKeyring* cluster = nullptr;
    std::optional<NodeId> nucleus;  // no other identity is talked to
    QuicCidKey cid_key{};
    std::function<void(const Endpoint& to, std::span<const uint8_t> datagram)> send;
    // Finds the addresses, and calls OnResolved() later.
    std::function<void()> resolve;
    std::function<uint64_t()> wall_nanos;      // a good first number for a record
    std::function<uint32_t(uint32_t)> random;  // below its argument
    // The node is calling us: our NAT should be opened for it.
    std::function<void(const NodeId&)> called = [](const NodeId&) {};
    KnownRecords::Hooks records;
    // The Nucleus has given these addresses, checked to be sound, or (none) they are lost. The
    // receiver calls SetSelf() with what it made of them, or says why it takes none. May be empty
    // where no address is ever asked for.
    std::function<absl::Status(const std::vector<InterfaceAddress>&)> allocated;
    // The Nucleus relays, and session data to others goes to this address; unset: not any more.
    std::function<void(const Endpoint&)> relay;
    const RevocationList* revocations = nullptr;  // that this node holds; not owned
    // A handshake message of another member of the cluster, hostile until proven otherwise.
    std::function<void(const NodeId& from, std::span<const uint8_t> datagram)> handshake;
  };
  explicit NucleusClient(Options options);

  // What others should know of this node; sent when it differs from what they know. The client adds
  // where the Nucleus sees it.
  struct Self {
    std::string name;
    std::vector<IpAddress> addresses;
    std::vector<IpPrefix> routes;
    std::vector<Endpoint> hosts;
    std::vector<Endpoint> reflexive;  // where STUN servers see it
    AddressSource source = AddressSource::kConfigured;
    std::vector<std::string> capabilities;
    friend bool operator==(const Self&, const Self&) = default;
  };
  void SetSelf(Self self, Instant now);
  // Tells a node, best effort, that we are calling it.
  void Call(const NodeId& node, Instant now);
  // Nothing leaves while the dataplane is away.
  void SetOnline(Instant now);
  void SetOffline();
  // Leaves the Nucleus, and comes back with SetOnline().
  void Suspend(Instant now);
  void OnResolved(const absl::StatusOr<std::vector<Endpoint>>& addresses, Instant now);
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;
  void Shutdown(Instant now);

  // Lets `peer` reach this node's channels through the Nucleus for so long (at most
  // kMaxOpenSeconds); best effort, as what follows.
  void OpenRelay(const NodeId& peer, std::span<const uint64_t> channels, uint32_t seconds,
                 Instant now);
  void SendHandshake(const NodeId& peer, std::span<const uint8_t> datagram, Instant now);

  // The cluster secrets that this node holds are others now.
  void OnSecrets(Instant now);
  // This node has revoked another one: its record is void, and the Nucleus should know.
  void OnRevoked(const NodeId& node, Instant now);
  // Whether the Nucleus has told of this revocation, and so tells others.
  bool HasToldRevocation(const RevocationList::Key& key) const {
    return records_.HasToldRevocation(key);
  }
  // Our record as it is now, whether a Nucleus has it or not; null: SetSelf() was never called.
  const signal::v1::SignedRecord* OwnRecord();
  uint64_t sequence() const { return sequence_; }
  // Whether the Nucleus has it.
  bool IsPublished() const {
    return state_ == NucleusState::kRegistered && !answer_by_ && !IsRecordOld() &&
           sent_ == sequence_;
  }
  // A record that a node has shown, of any node. One of our own that is newer than ours makes us go
  // on from its number.
  void Learn(const signal::v1::SignedRecord& message, Instant now);
  const KnownRecords::Known* Find(const NodeId& id) const { return records_.Find(id); }

  // What is known of others, over the life of a process.
  std::string SaveRecords(Instant now) const { return records_.Save(now, WallSeconds()); }
  void RestoreRecords(const signal::v1::SavedRecords& saved, Instant now) {
    records_.Restore(saved, now, WallSeconds());
  }
  // As of KnownRecords.
  void Saw(const NodeId& node, Instant now) { records_.Saw(node, now); }
  size_t ForgetUnseen(Instant now) { return records_.ForgetUnseen(now); }

  NucleusView view() const;

  // quic::Listener
  void OnConnected(quic::ConnectionId id, const quic::PublicKey& peer) override;
  void OnMessage(quic::ConnectionId id, std::string_view message) override;
  void OnWritable(quic::ConnectionId) override {}
  void OnMoved(quic::ConnectionId, const Endpoint&) override {}
  void OnClosed(quic::ConnectionId id, const quic::Closed& closed) override;

 private:
  int64_t WallSeconds() const {
    return static_cast<int64_t>(options_.wall_nanos() / std::nano::den);
  }
  void TryNext();
  void NoteFailed(const Endpoint& to, std::string_view why);
  std::string AllFailed() const;
  void GiveUp(std::string why);
  void Retreat(std::string why);
  void OnChallenge(const signal::v1::Challenge& challenge);
  void OnAccepted(const signal::v1::Accepted& accepted);
  void OnHandshake(const signal::v1::Handshake& handshake);
  void OnRefused(const signal::v1::Refused& refused);
  void OnObserved(const signal::v1::Observed& observed);
  void OnRevokedRefusal(const signal::v1::Refused& refused);
  void OfferRevocations();
  void AskForAddresses();
  void OnAllocated(const signal::v1::Allocated& allocated);
  void Register();
  const ClusterKeys& HelloKeys() const;
  void MakeRecord();
  std::vector<Candidate> Candidates() const;
  bool IsRecordOld() const;
  void UpdateRecord();
  void Send(const signal::v1::NodeMessage& message);

  Options options_;
  KnownRecords records_;
  std::unique_ptr<quic::Host> host_;
  Instant now_;  // of the event under way

  NucleusState state_ = NucleusState::kWaiting;
  bool online_ = false;
  std::optional<Instant> deadline_;  // of the state: next try, next address, update
  Duration pause_;
  std::string last_error_;
  std::vector<Endpoint> addresses_;                       // still to be tried
  std::vector<std::pair<Endpoint, std::string>> failed_;  // of this try, and why
  std::map<quic::ConnectionId, Endpoint> attempts_;
  std::optional<quic::ConnectionId> chosen_;
  Endpoint endpoint_;
  std::optional<NodeId> nucleus_id_;
  Endpoint observed_;
  std::optional<Instant> since_;
  uint64_t registrations_ = 0;
  size_t hello_ = 0;  // which of our secrets the Nucleus is told of

  Self self_;
  bool has_self_ = false;
  uint64_t sequence_ = 0;
  uint64_t sent_ = 0;                // to the Nucleus, last
  signal::v1::SignedRecord record_;  // as last signed
  Self recorded_;                    // what it says
  std::vector<ClusterId> recorded_clusters_;
  std::vector<Candidate> recorded_candidates_;
  std::optional<Instant> answer_by_;  // an update is under way
  // What was last asked of the Nucleus on this connection, and when to ask again.
  AddressSource asked_ = AddressSource::kConfigured;
  std::optional<Instant> ask_again_;
  std::string address_error_;  // why there is none
  bool relays_ = false;
  std::optional<Revocation> revoked_;
  std::set<RevocationList::Key> offered_;  // on this connection
  std::string revocation_error_;
};

}  // namespace omni
