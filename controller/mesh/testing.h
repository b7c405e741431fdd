// SPDX-License-Identifier: Apache-2.0
// A node of a mesh in memory: a PeerSignaling over real QUIC on quic::TestNetwork, with the records
// that a controller would keep for it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controller/mesh/signaling.h"
#include "signal/quic/testing.h"
#include "signal/record/proof.h"
#include "signal/record/record.h"

namespace omni {

// 0 and 1: one secret each; 2: the first one, and the second accepted; 3: the other way round.
inline const ClusterKeyring& MeshCluster(int which) {
  static const auto make = [](std::vector<std::string> secrets) {
    return *ClusterKeyring::Make(secrets);
  };
  static const std::string first = "correct horse battery staple";
  static const std::string second = "correct horse battery staplf";
  static const ClusterKeyring keys[4] = {make({first}), make({second}), make({first, second}),
                                         make({second, first})};
  return keys[which];
}

class MeshNode : public quic::NetworkNode {
 public:
  // `cluster`: as of MeshCluster().
  MeshNode(quic::TestNetwork& network, int number, int cluster = 0)
      : at(*Endpoint::Parse("198.51.100." + std::to_string(number) + ":51900")),
        name("n" + std::to_string(number)),
        revocations(MeshCluster(cluster).keys()),
        network_(network),
        cluster_(cluster) {
    SetSequence(1);
    Restart();
  }
  ~MeshNode() override { network_.Detach(at); }

  // Forgets all but its identity and its record.
  void Restart() {
    ++restarts_;
    known.clear();
    signaling = std::make_unique<PeerSignaling>(PeerSignaling::Options{
        .identity = &identity_.get(),
        .cluster = &MeshCluster(cluster_),
        .cid_key = QuicCidKey{static_cast<uint8_t>(restarts_)},
        .send = [this](const Endpoint& to,
                       std::span<const uint8_t> datagram) { network_.Send(at, to, datagram); },
        .own =
            [this] {
              return PeerSignaling::Options::Known{&own, sequence};
            },
        .find =
            [this](const NodeId& id) {
              const auto found = known.find(id);
              return found == known.end() ? PeerSignaling::Options::Known()
                                          : PeerSignaling::Options::Known{&found->second.message,
                                                                          found->second.sequence};
            },
        .take = [this](const signal::v1::SignedRecord& record) { Take(record); },
        .reach =
            [this](const NodeId& id) {
              const auto found = sessions.find(id);
              return found == sessions.end() ? Endpoint() : found->second;
            },
        .called = [this](const NodeId& id) { calls.push_back(id); },
        // A relay that asks nothing.
        .pass =
            [this](const NodeId& from, const NodeId& to, std::span<const uint8_t> datagram) {
              signaling->PassHandshake(from, to, datagram, network_.now());
            },
        .open =
            [this](const NodeId& from, const NodeId& to, const signal::v1::OpenRelay& message) {
              opened.push_back({from, to, {message.channels().begin(), message.channels().end()}});
            },
        .handshake =
            [this](const NodeId& via, const NodeId& from, std::span<const uint8_t> datagram) {
              handshakes.push_back({via, from, {datagram.begin(), datagram.end()}});
            },
        .relay_closed = [this](const NodeId& via) { closed.push_back(via); },
        .revoked = [this](const auto& message) { return Revoke(message); },
        .revocations = &revocations,
        .secret_of = [this](const NodeId& id) -> std::optional<ClusterId> {
          const auto found = secret_of.find(id);
          return found == secret_of.end() ? std::nullopt : std::optional(found->second);
        },
        .is_revoked = [this](const NodeId& id) { return revocations.Find(id) != nullptr; }});
    network_.Attach(at, this);
  }
  void SetSequence(uint64_t number) {
    sequence = number;
    own = Sign(Record(), identity_.get());
  }
  NodeRecord Record() const {
    const std::vector<ClusterId> held = MeshCluster(cluster_).ids();
    return {.cluster = held.front(),
            .accepted = {held.begin() + 1, held.end()},
            .key = identity_.get().public_key(),
            .sequence = sequence,
            .name = name,
            .addresses = {},
            .routes = {},
            .candidates = {{CandidateKind::kHost, at}},
            .capabilities = {}};
  }
  // As KnownRecords and NucleusClient do.
  void Take(const signal::v1::SignedRecord& record) {
    ++taken;
    const auto checked = Verify(record, MeshCluster(cluster_).ids());
    if (!checked.ok()) return;
    if (checked->id() == id()) {
      if (checked->sequence > sequence) SetSequence(checked->sequence + 1);
      return;
    }
    Known& entry = known[checked->id()];
    if (checked->sequence > entry.sequence) entry = {checked->sequence, record};
  }
  // As Discovery does.
  RevocationList::Verdict Revoke(const signal::v1::SignedRevocation& message) {
    const auto outcome = revocations.Take(message);
    if (outcome.verdict == RevocationList::Verdict::kNew) {
      signaling->Drop(outcome.entry->revocation.node, network_.now());
      signaling->Tell(*outcome.entry, network_.now());
    }
    return outcome.verdict;
  }
  void MoveTo(const std::string& address) {
    network_.Detach(at);
    at = *Endpoint::Parse(address);
    network_.Attach(at, this);
    SetSequence(sequence + 1);
    signaling->OnNetworkChange();
  }
  void Exchange(const MeshNode& with, uint64_t wanted = 0) {
    signaling->Exchange(with.id(), {.at = with.at, .due = network_.now(), .sequence = wanted});
  }
  uint64_t SequenceOf(const MeshNode& other) const {
    const auto found = known.find(other.id());
    return found == known.end() ? 0 : found->second.sequence;
  }
  std::vector<PeerSignalingView::Connection> connections() const {
    return signaling->view(network_.now()).connections;
  }
  const Identity& identity() const { return identity_.get(); }
  const NodeId& id() const { return identity_.get().node_id(); }

  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) override {
    ++datagrams;
    if (signaling->Wants(datagram)) signaling->OnDatagram(datagram, from, now);
  }
  void OnTimer(Instant now) override { signaling->OnTimer(now); }
  std::optional<Instant> NextDeadline() const override { return signaling->NextDeadline(); }

  struct Known {
    uint64_t sequence = 0;
    signal::v1::SignedRecord message;
  };
  Endpoint at;
  std::string name;
  uint64_t sequence = 0;
  signal::v1::SignedRecord own;
  std::map<NodeId, Known> known;
  std::map<NodeId, Endpoint> sessions;  // and where they lead
  std::vector<NodeId> calls;
  struct Opened {
    NodeId from;
    NodeId to;
    std::vector<uint64_t> channels;
  };
  struct Handshake {
    NodeId via;
    NodeId from;
    std::vector<uint8_t> datagram;
  };
  std::vector<Opened> opened;
  std::vector<Handshake> handshakes;
  std::vector<NodeId> closed;  // relays that have forgotten
  RevocationList revocations;
  std::map<NodeId, ClusterId> secret_of;  // what is known of it
  size_t taken = 0;
  size_t datagrams = 0;
  std::unique_ptr<PeerSignaling> signaling;

 private:
  quic::TestNetwork& network_;
  quic::TestIdentity identity_;
  const int cluster_;
  int restarts_ = 0;
};

// A member that says what it likes.
class RawMember : public quic::NetworkNode, public quic::Listener {
 public:
  RawMember(quic::TestNetwork& network, const MeshNode& identity, const std::string& where)
      : at(*Endpoint::Parse(where)), network_(network), identity_(identity.identity()) {
    quic::HostOptions options;
    options.identity = &identity_;
    options.protocol = kMeshProtocol;
    options.cid_key = QuicCidKey{77};
    options.send = [this](const quic::Route& to, std::span<const uint8_t> bytes) {
      network_.Send(at, to.remote, bytes);
    };
    options.knocks.emplace();
    host = std::make_unique<quic::Host>(std::move(options), *this);
    network_.Attach(at, this);
  }
  ~RawMember() override { network_.Detach(at); }
  void Connect(const MeshNode& to) {
    id = *host->Connect(to.at, to.id(), network_.now(),
                        KnockKeyOf(MeshCluster(0).present().psk, to.id()));
  }
  void Hello(const signal::v1::SignedRecord& record, const NodeId& as) {
    signal::v1::PeerMessage message;
    message.mutable_hello()->set_proof(
        MembershipProof(MeshCluster(0).present(), *host->Export(id, "omninervous mesh v1"), as));
    *message.mutable_hello()->mutable_record() = record;
    Say(message.SerializeAsString());
  }
  void Say(const std::string& message) { (void)host->Send(id, message, network_.now()); }

  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) override {
    host->OnDatagram(datagram, {.remote = from}, now);
  }
  void OnTimer(Instant now) override { host->OnTimer(now); }
  std::optional<Instant> NextDeadline() const override { return host->NextDeadline(); }
  void OnConnected(quic::ConnectionId, const quic::PublicKey&) override { connected = true; }
  void OnMessage(quic::ConnectionId, std::string_view message) override {
    messages.emplace_back(message);
  }
  void OnWritable(quic::ConnectionId) override {}
  void OnMoved(quic::ConnectionId, const Endpoint&) override {}
  void OnClosed(quic::ConnectionId, const quic::Closed& why) override { closed = why; }

  Endpoint at;
  bool connected = false;
  std::vector<std::string> messages;
  std::optional<quic::Closed> closed;
  quic::ConnectionId id{};
  std::unique_ptr<quic::Host> host;

 private:
  quic::TestNetwork& network_;
  const Identity& identity_;
};

}  // namespace omni
