// SPDX-License-Identifier: Apache-2.0
// PeerSignaling: what two nodes say to each other without a Nucleus
// (proto/omni/signal/v1/mesh.proto): records that have changed, calls through a common peer, and
// what a node that relays is asked for and passes on (signaling_relay.cc). A node is client and
// server at once. Connections are made when there is something to say, follow the client's address,
// and end when nothing was said for a minute. Pure: datagrams and time in, datagrams and hooks out.
// Owned by Discovery, on the event loop.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/clock.h"
#include "common/identity/cluster.h"
#include "omni/signal/v1/mesh.pb.h"
#include "signal/quic/host.h"
#include "signal/record/revocation.h"

namespace omni {

// LIMIT: proto/omni/signal/v1/mesh.proto names both.
inline constexpr size_t kMaxPeerMessageBytes = 20'480;
inline constexpr int kMaxPeerRecords = 4;
inline constexpr char kMeshProtocol[] = "omni-mesh/1";

struct PeerSignalingView {
  struct Connection {
    std::string id;  // Original Destination Connection ID: the same on both ends, wherever they are
    NodeId peer;
    Endpoint at;
    bool accepted = false;  // the peer began it
    uint64_t moves = 0;     // times that the peer's address changed under it
    Duration age{};
  };
  std::vector<Connection> connections;  // those of proven members
  uint64_t handshakes = 0;              // TLS handshakes so far
  uint64_t failures = 0;                // of these, such as failed or were not answered
  uint64_t moves = 0;                   // of the peers of all connections so far
  uint64_t unknown = 0;                 // datagrams that begin nothing
  uint64_t replayed = 0;                // of these, such as began something before
  uint64_t refused = 0;                 // messages beyond a quota, or against the rules
};

class PeerSignaling : public quic::Listener {
 public:
  struct Options {
    const Identity* identity = nullptr;       // not owned
    const ClusterKeyring* cluster = nullptr;  // not owned
    QuicCidKey cid_key{};
    std::function<void(const Endpoint& to, std::span<const uint8_t> datagram)> send;
    // A record and its number; null: there is none.
    struct Known {
      const signal::v1::SignedRecord* message = nullptr;
      uint64_t sequence = 0;
    };
    std::function<Known()> own;                // ours as it is now
    std::function<Known(const NodeId&)> find;  // of another node
    // Somebody has shown a record, of any node, hostile until proven otherwise.
    std::function<void(const signal::v1::SignedRecord&)> take;
    // Where a peer with a session is reached directly; unset: it is not.
    std::function<Endpoint(const NodeId&)> reach;
    // A node calls us; its record was taken before.
    std::function<void(const NodeId&)> called;
    // This node as a relay: a handshake message of one member for another; channels of `to` that
    // it opens for `from`. Well-formed; whether it is done is for the receiver to say.
    std::function<void(const NodeId& from, const NodeId& to, std::span<const uint8_t> datagram)>
        pass = [](const NodeId&, const NodeId&, std::span<const uint8_t>) {};
    std::function<void(const NodeId& from, const NodeId& to, const signal::v1::OpenRelay&)> open =
        [](const NodeId&, const NodeId&, const signal::v1::OpenRelay&) {};
    // Of a relay: a handshake message that it says is of `from`, hostile until proven otherwise;
    // that what was opened there is closed.
    std::function<void(const NodeId& via, const NodeId& from, std::span<const uint8_t> datagram)>
        handshake = [](const NodeId&, const NodeId&, std::span<const uint8_t>) {};
    std::function<void(const NodeId& via)> relay_closed = [](const NodeId&) {};
    // Somebody has shown a revocation, likewise.
    std::function<RevocationList::Verdict(const signal::v1::SignedRevocation&)> revoked =
        [](const auto&) { return RevocationList::Verdict::kRefused; };
    const RevocationList* revocations = nullptr;  // that this node holds; not owned. null: none
    // A secret that the node is known to hold, the newest of ours; unset: it is not known. Where
    // we hold two, tries then go by turns.
    std::function<std::optional<ClusterId>(const NodeId&)> secret_of = [](const NodeId&) {
      return std::nullopt;
    };
    // Nothing is said to it.
    std::function<bool(const NodeId&)> is_revoked = [](const NodeId&) { return false; };
  };
  explicit PeerSignaling(Options options);
  PeerSignaling(const PeerSignaling&) = delete;
  PeerSignaling& operator=(const PeerSignaling&) = delete;

  // Tells a node of our record and learns its own: over the connection that there is, or a new one
  // to `at`. Not before `due`, and not at all if by then a record of at least `sequence` is known
  // (0: in any case). Best effort.
  struct Wish {
    Endpoint at;
    Instant due;
    uint64_t sequence = 0;
  };
  void Exchange(const NodeId& peer, const Wish& wish);
  // Asks `through` for the record of a node, and to tell that node that we are calling it.
  void Call(const NodeId& node, const NodeId& through, Instant now);
  // Asks a node that relays to pass a handshake message on, or to open channels of ours for a peer.
  // In this order over one connection; best effort, as what follows.
  struct Relayed {
    NodeId via;
    NodeId peer;
  };
  void SendHandshake(const Relayed& to, std::span<const uint8_t> datagram, Instant now);
  void OpenRelay(const Relayed& to, std::span<const uint64_t> channels, uint32_t seconds,
                 Instant now);
  // As a relay: what was passed to us goes on; what a node has opened here is closed.
  void PassHandshake(const NodeId& from, const NodeId& to, std::span<const uint8_t> datagram,
                     Instant now);
  void TellRelayClosed(const NodeId& to, Instant now);
  // Our addresses are others than before.
  void OnNetworkChange();
  // A revocation that is new here, to all with whom there is a connection, but for the one who has
  // just told it. (signaling_revocations.cc)
  void Tell(const RevocationList::Entry& entry, Instant now);
  // Finds out whether the node knows of other revocations than we do: over the connection that
  // there is, or a new one to `at`.
  void Compare(const NodeId& peer, const Endpoint& at, Instant now);
  bool IsLinked(const NodeId& peer) const;
  // It is revoked now.
  void Drop(const NodeId& peer, Instant now);
  // Nothing leaves: what was to be said is void.
  void SetOffline() {
    pending_.clear();
    fresh_.clear();
  }
  void Shutdown(Instant now);

  // Whether the datagram, which is QUIC's, is for this and not for the connection to the Nucleus.
  bool Wants(std::span<const uint8_t> datagram) const;
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const;

  PeerSignalingView view(Instant now) const;

  // quic::Listener
  void OnConnected(quic::ConnectionId id, const quic::PublicKey& peer) override;
  void OnMessage(quic::ConnectionId id, std::string_view message) override;
  void OnWritable(quic::ConnectionId id) override;
  void OnMoved(quic::ConnectionId id, const Endpoint& remote) override;
  void OnClosed(quic::ConnectionId id, const quic::Closed& closed) override;

 private:
  struct Bucket {
    double tokens = 0;  // full since the clock's zero
    Instant filled;
  };
  struct Link {
    NodeId peer;
    ClusterId cluster;  // of the secret that it began with
    bool accepted = false;
    bool connected = false;
    bool member = false;  // it has proved so
    bool stale = false;   // we are not where the peer, which is the client, believes
    Instant began;
    Instant used;  // when something was said last
    uint64_t moves = 0;
    std::optional<Instant> unheard_since;  // what we said is not acknowledged
    std::set<ClusterId> holds;             // secrets, as it says; none: it takes no revocations
    // What it is being shown of our revocations: under which secrets, and from which one on.
    std::set<ClusterId> shown;
    std::optional<RevocationList::Key> show_from;
  };
  // A revocation to be passed on.
  struct Fresh {
    RevocationList::Key key;
    std::optional<NodeId> from;  // who told it
  };
  struct Pending {
    Wish wish;
    std::deque<signal::v1::PeerMessage> say;  // when it is connected
  };
  // Of each node that was spoken to, over its connections.
  struct Manners {
    Bucket messages;
    Bucket shown;          // times that it was shown all revocations
    Instant connect_from;  // no new connection to it before
    Duration pause{};      // before the next one, after one that failed
    size_t failures = 0;   // of connections to it
    Instant used;
  };

  // What is due of the links' own affairs.
  void LookAtLinks();
  void BeginDue();
  bool MakeRoomForLink();
  const ClusterKeys& SecretFor(const NodeId& peer, const Manners& manners) const;
  const ClusterKeys& SecretOf(const ClusterId& cluster) const;
  ClusterId KnockedWith(quic::ConnectionId id) const;
  std::optional<quic::ConnectionId> LinkTo(const NodeId& peer) const;
  void Send(quic::ConnectionId id, const signal::v1::PeerMessage& message);
  void SendRecord(quic::ConnectionId id, const Options::Known& record);
  void SendAsk(quic::ConnectionId id, const NodeId& node);
  void SayTo(const NodeId& peer, signal::v1::PeerMessage message);
  void Close(quic::ConnectionId id, uint64_t code, std::string_view why);
  void SayPending(const NodeId& peer);
  Manners& MannersOf(const NodeId& peer);
  bool TakeToken(Bucket& bucket, double burst, double per_second) const;

  void OnHello(quic::ConnectionId id, const NodeId& from, const signal::v1::PeerHello& hello);
  void TakeRecord(quic::ConnectionId id, const NodeId& from,
                  const signal::v1::SignedRecord& record);
  void OnAsk(quic::ConnectionId id, const signal::v1::PeerAsk& ask);
  void OnCall(const NodeId& from, const signal::v1::PeerCall& call);
  void OnCalled(const NodeId& from, const signal::v1::PeerCalled& called);
  void OnRelaying(quic::ConnectionId id, const NodeId& from,
                  const signal::v1::PeerMessage& message);
  void SendCompare(quic::ConnectionId id, bool is_answer);
  void OnCompare(quic::ConnectionId id, const NodeId& from, const signal::v1::PeerCompare& compare);
  void OnRevocations(const NodeId& from, const signal::v1::PeerRevocations& revocations);
  void ShowMore(quic::ConnectionId id);
  void TellFresh();

  const Options options_;
  std::unique_ptr<quic::Host> host_;
  Instant now_;                               // of the event under way
  std::map<quic::ConnectionId, Link> links_;  // LIMIT: kMaxLinks
  std::map<NodeId, Pending> pending_;         // LIMIT: kMaxPending
  std::map<NodeId, Manners> manners_;         // LIMIT: kMaxManners
  Bucket forwarded_;
  std::vector<Fresh> fresh_;      // LIMIT: revocations, which are bounded
  std::optional<NodeId> teller_;  // of what is being taken
  std::optional<Instant> look_;   // at links and pending ones
  uint64_t refused_ = 0;
  uint64_t moves_ = 0;
};

}  // namespace omni
