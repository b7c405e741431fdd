// SPDX-License-Identifier: Apache-2.0
// NucleusServer: the Nucleus' side of proto/omni/signal/v1 over a quic::Host: registers members,
// keeps each told of what changes, and refuses everything else. Pure but for the registry's disk:
// datagrams and time in, datagrams out. Changes are collected for a moment and then sent to each
// member from the revision that it has, so a slow member costs no memory and a burst no storm.
// Owned by main(), on its event loop.
#pragma once

#include <array>
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

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nucleus/registry/registry.h"
#include "nucleus/registry/store.h"
#include "nucleus/relay/relay.h"
#include "signal/quic/host.h"
#include "signal/stun/answer.h"

namespace omni {

struct NucleusCluster {
  std::string name;              // for people and metrics
  std::vector<ClusterKey> keys;  // one, or two while it changes its secret: as of Registry
  std::vector<IpPrefix> pools;   // as of Leases
};

class NucleusServer : public quic::Listener {
 public:
  struct Options {
    const Identity* identity = nullptr;  // not owned
    std::vector<NucleusCluster> clusters;
    Registry::Limits limits;
    Relay::Options relay;
    size_t max_connections = 20'000;
    std::function<void(const quic::Route& to, std::span<const uint8_t> datagram)> send;
    // STUN: the ports that are listened on, and how an answer leaves from one of them.
    stun::ServerPorts ports;
    std::function<void(stun::ServerPort from, const quic::Route& to,
                       std::span<const uint8_t> datagram)>
        send_from;
    std::function<int64_t()> wall;  // seconds since 1970
  };
  struct ClusterView {
    std::string name;
    const Registry* registry = nullptr;
    size_t connected = 0;
  };
  struct Counters {
    std::map<std::string, uint64_t> refused;  // by reason
    uint64_t records = 0;                     // taken, and different from what was there
    uint64_t deltas = 0;
    uint64_t forgotten = 0;
    uint64_t calls = 0;       // passed on
    uint64_t violations = 0;  // connections that broke the rules
    // Session data, and handshake messages, that were not sent on, beside what the relay refused.
    uint64_t relay_strangers = 0;  // from an address that no member has
    uint64_t relay_absent = 0;     // for a node that is not connected
    uint64_t relay_too_fast = 0;
    uint64_t relayed_handshakes = 0;
    uint64_t stun_answered = 0;
    uint64_t stun_refused = 0;  // no well-formed Binding request, or beyond the rate of all
  };

  // `store` is not owned.
  static absl::StatusOr<std::unique_ptr<NucleusServer>> Make(Options options, Store& store);
  ~NucleusServer() override = default;

  void OnDatagram(std::span<const uint8_t> datagram, const quic::Route& from, Instant now);
  // At the second port, where there is nothing but STUN.
  void OnSecondPort(std::span<const uint8_t> datagram, const quic::Route& from, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;
  // Says goodbye to everybody, and hears nobody any more: who came back at once would not be told
  // when the process ends.
  void Shutdown(Instant now);

  std::vector<ClusterView> clusters() const;
  const Counters& counters() const { return counters_; }
  const Relay& relay() const { return relay_; }
  const quic::HostCounters& quic_counters() const { return host_->counters(); }
  size_t connections() const { return host_->connections(); }

  // quic::Listener
  void OnConnected(quic::ConnectionId id, const quic::PublicKey& peer) override;
  void OnMessage(quic::ConnectionId id, std::string_view message) override;
  void OnWritable(quic::ConnectionId id) override;
  void OnMoved(quic::ConnectionId id, const Endpoint& remote) override;
  void OnClosed(quic::ConnectionId id, const quic::Closed& closed) override;

 private:
  // LIMIT: a node may change its record 20 times at once and then every 2 s: a laptop that wanders
  // between networks does less.
  struct Bucket {
    double tokens = 20;
    Instant filled;
    bool Take(double burst, double per_second, Instant now);
  };
  struct Cluster {
    uint32_t number = 0;
    std::string name;
    std::vector<ClusterKey> keys;
    std::vector<ClusterId> ids;  // of them
    std::unique_ptr<Registry> registry;
    absl::flat_hash_map<NodeId, quic::ConnectionId> members;  // that are connected
    absl::flat_hash_map<NodeId, Bucket> buckets;              // of nodes in the registry
    std::optional<Instant> push_at;  // when members are told of changes, or told further
    // The round in which they are told: who is left, since when, and what all have afterwards.
    std::vector<quic::ConnectionId> untold;
    Instant round_begun;
    uint64_t round_revision = 0;
    Instant rest_until;  // no round begins before
  };
  enum class Stage : uint8_t { kHello, kRegister, kMember };
  struct Connection {
    NodeId node;
    quic::PublicKey identity{};
    Stage stage = Stage::kHello;
    Instant since;
    Cluster* cluster = nullptr;       // from kRegister on
    const ClusterKey* key = nullptr;  // likewise: that the node has named
    uint64_t revision = 0;            // that the member has
    bool from_beginning = false;
    bool blocked = false;  // too much waits for it already
    double calls = 1000;   // it may make now (proto/omni/signal/v1)
    Instant calls_filled;
    Endpoint remote;  // of a member: under which by_endpoint_ knows it
    Bucket handshakes{.tokens = 100, .filled = {}};
    Bucket opens{.tokens = 300, .filled = {}};
    Bucket revoke{.tokens = 100, .filled = {}};
  };
  struct Refusal {
    signal::v1::Refused::Reason reason = signal::v1::Refused::REASON_UNSPECIFIED;
    std::string detail;
    const signal::v1::SignedRecord* newest = nullptr;
    const signal::v1::SignedRevocation* revocation = nullptr;
  };

  explicit NucleusServer(Options options);
  void OnHello(quic::ConnectionId id, Connection& connection, const signal::v1::Hello& hello);
  void OnRegister(quic::ConnectionId id, Connection& connection,
                  const signal::v1::Register& message);
  void OnUpdate(quic::ConnectionId id, Connection& connection, const signal::v1::Update& update);
  void OnCall(Connection& connection, const signal::v1::Call& call);
  void OnAllocate(quic::ConnectionId id, Connection& connection,
                  const signal::v1::Allocate& message);
  void OnRelease(quic::ConnectionId id, Connection& connection);
  // server_revoke.cc
  void OnRevoke(quic::ConnectionId id, Connection& connection, const signal::v1::Revoke& message);
  void Expel(Cluster& cluster, const NodeId& node);
  static Refusal IsRevoked(const Connection& connection);
  void OnStun(std::span<const uint8_t> datagram, const quic::Route& from, stun::ServerPort arrived);
  // server_relay.cc
  void OnSessionData(std::span<const uint8_t> datagram, const quic::Route& from);
  void OnOpenRelay(quic::ConnectionId id, Connection& connection,
                   const signal::v1::OpenRelay& message);
  void OnSendHandshake(quic::ConnectionId id, Connection& connection,
                       const signal::v1::SendHandshake& message);
  void NoteRemote(quic::ConnectionId id, Connection& connection);
  void Drop(quic::ConnectionId id);
  std::optional<Refusal> TakeRecord(Connection& connection, const signal::v1::SignedRecord& message,
                                    uint64_t& sequence);
  static Refusal TooFast();
  bool TakeToken(Cluster& cluster, const NodeId& node);
  void Refuse(quic::ConnectionId id, const Refusal& refusal);
  void Break(quic::ConnectionId id, std::string_view why);
  void SendAccepted(quic::ConnectionId id, uint64_t sequence);
  void SendObserved(quic::ConnectionId id, const Endpoint& remote);
  bool Send(quic::ConnectionId id, const signal::v1::NucleusMessage& message);
  void PushSoon(Cluster& cluster);
  void Push(Cluster& cluster);
  void PushTo(quic::ConnectionId id);
  void CloseSlow();
  void Forget();

  const Options options_;
  std::unique_ptr<quic::Host> host_;
  Instant now_;  // of the event under way
  bool ended_ = false;
  std::vector<std::unique_ptr<Cluster>> clusters_;
  absl::flat_hash_map<quic::ConnectionId, Connection> connections_;
  absl::flat_hash_map<Endpoint, quic::ConnectionId> by_endpoint_;  // of members
  Relay relay_;
  Bucket stun_;
  std::set<std::pair<Instant, quic::ConnectionId>> unregistered_;  // by when they have to be
  std::optional<Instant> forget_at_;
  Counters counters_;
};

}  // namespace omni
