// SPDX-License-Identifier: Apache-2.0
// A Nucleus and its nodes in one process: the real server, registry and clients over real QUIC, on
// a network in memory and a clock that jumps.
#pragma once

#include <gtest/gtest.h>
#include <sodium.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "controller/nucleus/client.h"
#include "nucleus/server/server.h"
#include "signal/quic/testing.h"

namespace omni {
namespace pb = signal::v1;
using quic::NetworkNode;
using quic::TestIdentity;
using quic::TestNetwork;

inline const ClusterKeys& Cluster(int which) {
  static const ClusterKeys keys[3] = {*ClusterKeys::Derive("correct horse battery staple"),
                                      *ClusterKeys::Derive("correct horse battery staplf"),
                                      *ClusterKeys::Derive("correct horse battery staplg")};
  return keys[which];
}

class NucleusNode : public NetworkNode {
 public:
  NucleusNode(TestNetwork& network, std::vector<int> clusters, std::vector<std::string> at)
      : network_(network), clusters_(std::move(clusters)) {
    static int number = 0;
    directory_ = std::filesystem::temp_directory_path() /
                 ("omni-nucleus-sim-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    std::filesystem::create_directories(directory_);
    for (const std::string& text : at) endpoints.push_back(*Endpoint::Parse(text));
    Start();
  }
  ~NucleusNode() override {
    Kill();
    std::filesystem::remove_all(directory_);
  }
  void Start() {
    store_ = *Store::Open(directory_ + "/registry.db");
    NucleusServer::Options options;
    options.identity = &identity_.get();
    for (const int which : clusters_) {
      options.clusters.push_back({"c" + std::to_string(which), {Cluster(which).key}, pools});
    }
    if (!secrets_of_first.empty()) options.clusters.front().keys.clear();
    for (const int which : secrets_of_first) {
      options.clusters.front().keys.push_back(Cluster(which).key);
    }
    options.limits = limits;
    options.relay = relay;
    options.send = [this](const quic::Route& to, std::span<const uint8_t> datagram) {
      network_.Send(endpoints.front(), to.remote, datagram);
    };
    options.ports = {.first = 51900, .second = 51901};
    options.send_from = [this](stun::ServerPort from, const quic::Route& to,
                               std::span<const uint8_t> datagram) {
      stun_answers.push_back({from, to.remote, {datagram.begin(), datagram.end()}});
    };
    options.wall = [this] { return wall; };
    server = *NucleusServer::Make(std::move(options), *store_);
    for (const Endpoint& at : endpoints) network_.Attach(at, this);
  }
  // What it knows is gone, but for its identity.
  void LoseRegistry() {
    Kill();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  // Without a word.
  void Kill() {
    for (const Endpoint& at : endpoints) network_.Detach(at);
    server.reset();
    store_.reset();
  }
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) override {
    server->OnDatagram(datagram, {.remote = from, .local = {}}, now);
  }
  void OnTimer(Instant now) override { server->OnTimer(now); }
  std::optional<Instant> NextDeadline() const override { return server->NextDeadline(); }
  const NodeId& id() const { return identity_.get().node_id(); }

  std::vector<Endpoint> endpoints;
  std::vector<int> secrets_of_first;  // of the first cluster, the newest first; empty: its own
  Registry::Limits limits;
  Relay::Options relay;
  std::vector<IpPrefix> pools = {*IpPrefix::Parse("10.99.0.0/24"), *IpPrefix::Parse("fd99::/64")};
  int64_t wall = 1'700'000'000;
  std::unique_ptr<NucleusServer> server;
  struct StunAnswer {
    stun::ServerPort from;
    Endpoint to;
    std::vector<uint8_t> bytes;
  };
  std::vector<StunAnswer> stun_answers;

 private:
  TestNetwork& network_;
  TestIdentity identity_;
  const std::vector<int> clusters_;
  std::string directory_;
  std::unique_ptr<Store> store_;
};

class ClientNode : public NetworkNode {
 public:
  ClientNode(TestNetwork& network, const NucleusNode& nucleus, int number, int cluster = 0)
      : at(*Endpoint::Parse("198.51.100." + std::to_string(number) + ":51900")),
        addresses(nucleus.endpoints),
        ring(Cluster(cluster).Clone()),
        revoked({Cluster(cluster).key}),
        network_(network),
        cluster_(cluster) {
    self.name = "n" + std::to_string(number);
    self.addresses = {*IpAddress::Parse("10.77.0." + std::to_string(number))};
    self.hosts = {at};
  }
  ~ClientNode() override { network_.Detach(at); }
  void Start() {
    NucleusClient::Options options;
    options.identity = &identity_.get();
    options.cluster = &ring;
    options.nucleus = nucleus_id;
    options.cid_key = QuicCidKey{3};
    options.send = [this](const Endpoint& to, std::span<const uint8_t> datagram) {
      network_.Send(at, to, datagram);
    };
    options.resolve = [this] { resolving = true; };
    options.wall_nanos = [this] { return wall_nanos; };
    options.random = [](uint32_t limit) { return randombytes_uniform(limit); };
    options.called = [this](const NodeId& id) { calls.push_back(id); };
    options.records.changed = [this](const NodeRecord& record) {
      ++changes;
      known.insert_or_assign(record.name, record);
      names.insert_or_assign(record.id(), record.name);
    };
    options.records.unlisted = [this](const NodeId& id) { known.erase(names[id]); };
    options.records.revoked = [this](const pb::SignedRevocation& message) {
      const auto outcome = revoked.Take(message);
      if (outcome.entry == nullptr) return std::optional<RevocationList::Key>();
      const Revocation& revocation = outcome.entry->revocation;
      known.erase(names[revocation.node]);
      return std::optional(RevocationList::Key{revocation.node, revocation.cluster});
    };
    options.records.is_revoked = [this](const NodeId& id) { return revoked.Find(id) != nullptr; };
    options.revocations = &revoked;
    // As the controller does it.
    options.allocated = [this](const std::vector<InterfaceAddress>& given) {
      allocated = given;
      if (!taken.ok()) return taken;
      if (given.empty() && self.source == AddressSource::kReleasing) {
        self.source = AddressSource::kConfigured;
      }
      self.addresses.clear();
      for (const InterfaceAddress& own : given) self.addresses.push_back(own.address);
      client->SetSelf(self, network_.now());
      return absl::OkStatus();
    };
    options.relay = [this](const Endpoint& through) { relay = through; };
    options.handshake = [this](const NodeId& from, std::span<const uint8_t> datagram) {
      handshakes.emplace_back(from, std::vector<uint8_t>(datagram.begin(), datagram.end()));
    };
    client = std::make_unique<NucleusClient>(std::move(options));
    network_.Attach(at, this);
    client->SetSelf(self, network_.now());
    client->SetOnline(network_.now());
  }
  void Change(const std::function<void(NucleusClient::Self&)>& change) {
    change(self);
    client->SetSelf(self, network_.now());
  }
  // As its administrator does it.
  void Revoke(const NodeId& node, const std::string& reason = "") {
    known.erase(names[node]);
    revoked.Take(Sign({.cluster = Cluster(cluster_).key.id(),
                       .node = node,
                       .time = 1,
                       .name = "",
                       .reason = reason},
                      Cluster(cluster_)));
    client->OnRevoked(node, network_.now());
  }
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) override {
    if (!IsQuic(datagram.front())) {
      data.emplace_back(datagram.begin(), datagram.end());
      data_from = from;
      return;
    }
    client->OnDatagram(datagram, from, now);
  }
  void OnTimer(Instant now) override {
    client->OnTimer(now);
    if (resolves && std::exchange(resolving, false)) client->OnResolved(addresses, now);
  }
  std::optional<Instant> NextDeadline() const override { return client->NextDeadline(); }
  Instant now() const { return network_.now(); }
  bool registered() const { return client->view().state == NucleusState::kRegistered; }
  const Identity& identity() const { return identity_.get(); }
  const NodeId& id() const { return identity().node_id(); }
  bool Knows(const std::string& name) const { return known.contains(name); }

  Endpoint at;
  std::vector<Endpoint> addresses;
  NucleusClient::Self self;
  std::optional<NodeId> nucleus_id;
  uint64_t wall_nanos = 1000;
  bool resolving = false;
  bool resolves = true;
  Endpoint relay;
  std::vector<std::pair<NodeId, std::vector<uint8_t>>> handshakes;  // that came by the Nucleus
  std::vector<std::vector<uint8_t>> data;
  Endpoint data_from;
  std::vector<InterfaceAddress> allocated;  // last
  absl::Status taken;                       // what the controller says of it
  int changes = 0;
  std::vector<NodeId> calls;  // by whom it is called
  std::map<std::string, NodeRecord> known;
  std::map<NodeId, std::string> names;
  ClusterKeyring ring;
  RevocationList revoked;
  std::unique_ptr<NucleusClient> client;

 private:
  TestNetwork& network_;
  TestIdentity identity_;
  const int cluster_;
};

class NucleusSim : public ::testing::Test {
 protected:
  ClientNode& Add(int number, int cluster = 0) {
    nodes_.push_back(std::make_unique<ClientNode>(network_, nucleus_, number, cluster));
    return *nodes_.back();
  }
  ClientNode& AddStarted(int number, int cluster = 0) {
    ClientNode& node = Add(number, cluster);
    node.Start();
    return node;
  }
  TestNetwork network_;
  NucleusNode nucleus_{network_, {0, 1}, {"192.0.2.1:51900"}};
  std::vector<std::unique_ptr<ClientNode>> nodes_;
};

}  // namespace omni
