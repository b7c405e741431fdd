// SPDX-License-Identifier: Apache-2.0
// A Nucleus and its nodes in one process: the real server, registry and clients over real QUIC, on
// a network in memory and a clock that jumps.
#include <gtest/gtest.h>
#include <sodium.h>
#include <unistd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "common/encoding.h"
#include "controller/nucleus/client.h"
#include "nucleus/server/server.h"
#include "signal/quic/testing.h"
#include "signal/record/codes.h"
#include "signal/record/proof.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using quic::NetworkNode;
using quic::TestIdentity;
using quic::TestNetwork;

const ClusterKeys& Cluster(int which) {
  static const ClusterKeys keys[2] = {*ClusterKeys::Derive("correct horse battery staple"),
                                      *ClusterKeys::Derive("correct horse battery staplf")};
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
      options.clusters.push_back({"c" + std::to_string(which), Cluster(which).key});
    }
    options.limits = limits;
    options.send = [this](const quic::Route& to, std::span<const uint8_t> datagram) {
      network_.Send(endpoints.front(), to.remote, datagram);
    };
    options.wall = [this] { return wall; };
    server = *NucleusServer::Make(std::move(options), *store_);
    for (const Endpoint& at : endpoints) network_.Attach(at, this);
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
  Registry::Limits limits;
  int64_t wall = 1'700'000'000;
  std::unique_ptr<NucleusServer> server;

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
    options.cluster = &Cluster(cluster_);
    options.nucleus = nucleus_id;
    options.cid_key = QuicCidKey{3};
    options.send = [this](const Endpoint& to, std::span<const uint8_t> datagram) {
      network_.Send(at, to, datagram);
    };
    options.resolve = [this] { resolving = true; };
    options.wall_nanos = [this] { return wall_nanos; };
    options.random = [](uint32_t limit) { return randombytes_uniform(limit); };
    options.records.changed = [this](const NodeRecord& record) {
      ++changes;
      known.insert_or_assign(record.name, record);
      names.insert_or_assign(record.id(), record.name);
    };
    options.records.unlisted = [this](const NodeId& id) { known.erase(names[id]); };
    client = std::make_unique<NucleusClient>(std::move(options));
    network_.Attach(at, this);
    client->SetSelf(self, network_.now());
    client->SetOnline(network_.now());
  }
  void Change(const std::function<void(NucleusClient::Self&)>& change) {
    change(self);
    client->SetSelf(self, network_.now());
  }
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) override {
    client->OnDatagram(datagram, from, now);
  }
  void OnTimer(Instant now) override {
    client->OnTimer(now);
    if (std::exchange(resolving, false)) client->OnResolved(addresses, now);
  }
  std::optional<Instant> NextDeadline() const override { return client->NextDeadline(); }
  bool registered() const { return client->view().state == NucleusState::kRegistered; }
  const Identity& identity() const { return identity_.get(); }
  bool Knows(const std::string& name) const { return known.contains(name); }

  Endpoint at;
  std::vector<Endpoint> addresses;
  NucleusClient::Self self;
  std::optional<NodeId> nucleus_id;
  uint64_t wall_nanos = 1000;
  bool resolving = false;
  int changes = 0;
  std::map<std::string, NodeRecord> known;
  std::map<NodeId, std::string> names;
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

TEST_F(NucleusSim, NodesThatKnowOnlyTheNucleusLearnOfEachOther) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ClientNode& c = AddStarted(3);
  ASSERT_TRUE(network_.RunUntil(
      [&] { return a.known.size() == 2 && b.known.size() == 2 && c.known.size() == 2; }));
  const NodeRecord& record = a.known.at("n2");
  EXPECT_EQ(record.key, b.identity().public_key());
  EXPECT_EQ(record.addresses, b.self.addresses);
  EXPECT_EQ(record.candidates.at(0).endpoint, b.at);
  EXPECT_FALSE(a.Knows("n1"));
  EXPECT_EQ(a.client->view().observed, a.at);
  EXPECT_EQ(a.client->view().node_id, nucleus_.id());
}

TEST_F(NucleusSim, AChangeReachesEverybodyOnceAndAlone) {
  std::vector<ClientNode*> all;
  for (int i = 1; i <= 10; ++i) all.push_back(&AddStarted(i));
  ASSERT_TRUE(network_.RunUntil(
      [&] { return std::ranges::all_of(all, [](auto* n) { return n->known.size() == 9; }); }));
  network_.RunFor(2s);
  const auto before = nucleus_.server->counters();
  std::vector<int> changes;
  for (const ClientNode* node : all) changes.push_back(node->changes);
  all[0]->Change([](auto& self) { self.name = "renamed"; });
  network_.RunFor(2s);
  const auto& after = nucleus_.server->counters();
  EXPECT_EQ(after.records - before.records, 1U);
  // One message for each node; the changed one's own is empty and carries its revision on.
  EXPECT_EQ(after.deltas - before.deltas, 10U);
  for (size_t i = 1; i < all.size(); ++i) {
    EXPECT_EQ(all[i]->changes - changes[i], 1);
    EXPECT_TRUE(all[i]->Knows("renamed"));
  }
}

TEST_F(NucleusSim, ARestartLosesNobodyAndNobodyGetsTheWholeListAgain) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2") && b.Knows("n1"); }));
  network_.RunFor(2s);
  const int changes = a.changes;
  nucleus_.Kill();
  network_.RunFor(5s);
  nucleus_.Start();
  // Resets or the idle timeout tell the nodes.
  ASSERT_TRUE(network_.RunUntil([&] { return a.client->view().connections == 2; }));
  network_.RunFor(60s);
  EXPECT_TRUE(a.registered() && b.registered());
  EXPECT_EQ(a.changes, changes);
  ClientNode& c = AddStarted(3);
  ASSERT_TRUE(network_.RunUntil([&] { return c.known.size() == 2 && a.Knows("n3"); }));
}

TEST_F(NucleusSim, AnEndThatIsSaidIsFollowedAtOnceAndKnownPeersStay) {
  ClientNode& a = AddStarted(1);
  AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2"); }));
  nucleus_.server->Shutdown(network_.now());
  nucleus_.Kill();
  network_.RunFor(1s);
  EXPECT_FALSE(a.registered());
  EXPECT_NE(a.client->view().last_error.find("the Nucleus ends"), std::string::npos);
  // An hour without: nothing is lost, nothing grows.
  network_.RunFor(3600s);
  EXPECT_TRUE(a.Knows("n2"));
  EXPECT_EQ(a.client->view().nodes, 1U);
  EXPECT_TRUE(a.client->view().next_try.has_value() || !a.registered());
  nucleus_.Start();
  const Instant before = network_.now();
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
  EXPECT_LE(network_.now() - before, 110s);  // the longest pause, its jitter, and a handshake
}

TEST_F(NucleusSim, AnotherSecretIsRefusedWithAReasonAndLearnsNothing) {
  NucleusNode only_first(network_, {0}, {"192.0.2.9:51900"});
  ClientNode& a = AddStarted(1);
  ClientNode stranger(network_, only_first, 2, 1);
  stranger.Start();
  network_.RunFor(10s);
  EXPECT_TRUE(a.registered());
  EXPECT_FALSE(stranger.registered());
  EXPECT_NE(stranger.client->view().last_error.find("does not serve this cluster"),
            std::string::npos)
      << stranger.client->view().last_error;
  EXPECT_TRUE(stranger.known.empty());
}

TEST_F(NucleusSim, ClustersOnOneNucleusDoNotSeeEachOther) {
  ClientNode& a = AddStarted(1, 0);
  ClientNode& b = AddStarted(2, 0);
  ClientNode& x = AddStarted(3, 1);
  ClientNode& y = AddStarted(4, 1);
  x.Change([&](auto& self) { self.addresses = a.self.addresses; });  // their own business
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2") && y.Knows("n3"); }));
  network_.RunFor(5s);
  EXPECT_EQ(a.known.size(), 1U);
  EXPECT_EQ(b.known.size(), 1U);
  EXPECT_EQ(x.known.size(), 1U);
  EXPECT_EQ(y.known.size(), 1U);
}

TEST_F(NucleusSim, AnotherIdentityThanThePinnedOneIsNotTalkedTo) {
  ClientNode& a = Add(1);
  a.nucleus_id = NodeId();
  a.Start();
  network_.RunFor(10s);
  EXPECT_FALSE(a.registered());
  EXPECT_NE(a.client->view().last_error.find("is wanted"), std::string::npos);
}

TEST_F(NucleusSim, AllAddressesAreTriedAndADeadOneCostsAQuarterOfASecond) {
  NucleusNode both(network_, {0}, {"[2001:db8::1]:51900", "192.0.2.7:51900"});
  ClientNode a(network_, both, 1);
  a.addresses = {*Endpoint::Parse("192.0.2.66:1"), *Endpoint::Parse("[2001:db8::66]:1"),
                 *Endpoint::Parse("[2001:db8::1]:51900")};
  a.Start();
  const Instant before = network_.now();
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
  EXPECT_LT(network_.now() - before, 1s);
  EXPECT_EQ(a.client->view().endpoint, both.endpoints.front());
}

TEST_F(NucleusSim, ANodeWhoseClockWasSetBackCatchesUp) {
  ClientNode& a = Add(1);
  a.wall_nanos = 1'000'000;
  a.Start();
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return b.Knows("n1"); }));
  a.wall_nanos = 5;  // and it lost what it remembered
  a.self.name = "reborn";
  a.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return b.Knows("reborn"); }));
  EXPECT_GT(a.client->view().sequence, 1'000'000U);
}

TEST_F(NucleusSim, ClocksThatAreDaysApartDoNotMatter) {
  ClientNode& a = Add(1);
  a.wall_nanos = uint64_t{1} << 62U;
  a.Start();
  ClientNode& b = Add(2);
  b.wall_nanos = 1;
  b.Start();
  nucleus_.wall = 0;
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2") && b.Knows("n1"); }));
  network_.RunFor(3600s);
  EXPECT_TRUE(a.Knows("n2") && b.Knows("n1"));
}

TEST_F(NucleusSim, ANodeThatMovesIsFoundAtItsNewAddress) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2") && b.Knows("n1"); }));
  network_.Detach(a.at);
  a.at = *Endpoint::Parse("203.0.113.9:4000");
  network_.Attach(a.at, &a);
  ASSERT_TRUE(network_.RunUntil([&] {
    const auto& candidates = b.known.at("n1").candidates;
    return std::ranges::any_of(candidates, [&](const auto& c) { return c.endpoint == a.at; });
  }));
  EXPECT_EQ(a.client->view().connections, 1U);  // the same connection
}

TEST_F(NucleusSim, AnAddressThatIsTakenIsRefusedAndSaidSo) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered() && b.registered(); }));
  ClientNode& thief = Add(3);
  thief.self.addresses = a.self.addresses;
  thief.Start();
  network_.RunFor(10s);
  EXPECT_FALSE(thief.registered());
  EXPECT_NE(thief.client->view().last_error.find("10.77.0.1 belongs to node"), std::string::npos);
  EXPECT_FALSE(b.Knows("n3"));
  // By a change it goes no better, and what it had stays.
  b.Change([&](auto& self) { self.addresses = a.self.addresses; });
  network_.RunFor(10s);
  EXPECT_TRUE(b.registered());
  EXPECT_NE(b.client->view().last_error.find("10.77.0.1 belongs to node"), std::string::npos);
  EXPECT_EQ(a.known.at("n2").addresses.front(), *IpAddress::Parse("10.77.0.2"));
}

TEST_F(NucleusSim, TheSilentAreForgottenAndReadersToldSo) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2") && b.Knows("n1"); }));
  b.client->Shutdown(network_.now());
  network_.Detach(b.at);
  network_.RunFor(60s);
  EXPECT_TRUE(a.Knows("n2"));
  nucleus_.wall += 31 * 24 * 3600;
  network_.RunFor(180s);
  EXPECT_FALSE(a.Knows("n2"));
  EXPECT_TRUE(a.registered());
}

// A node that does not keep to the rules: QUIC and messages, without a client's manners.
class HostileNode {
 public:
  HostileNode(TestNetwork& network, const NucleusNode& nucleus, const std::string& at)
      : host_(network, identity_, at, {.protocol = kSignalProtocol}), network_(network) {
    id_ = *host_.host().Connect(nucleus.endpoints.front(), std::nullopt, network.now());
    network_.RunUntil([&] { return host_.connected(id_) || closed(); });
  }
  void Send(const pb::NodeMessage& message) { SendRaw(message.SerializeAsString()); }
  void SendRaw(const std::string& message) {
    (void)host_.host().Send(id_, message, network_.now());
    network_.RunFor(1s);
  }
  void Hello(int cluster = 0) {
    pb::NodeMessage message;
    message.mutable_hello()->set_cluster_id(Cluster(cluster).key.id().ToBytes());
    Send(message);
  }
  ExportedKey Exported() { return *host_.host().Export(id_, kExporterLabel); }
  NodeRecord Record() const {
    return {.cluster = Cluster(0).key.id(),
            .key = identity_.get().public_key(),
            .sequence = ++sequence_,
            .name = "hostile",
            .addresses = {},
            .routes = {},
            .candidates = {},
            .capabilities = {}};
  }
  void Register(const std::string& proof, const pb::SignedRecord& record) {
    pb::NodeMessage message;
    message.mutable_register_()->set_proof(proof);
    *message.mutable_register_()->mutable_record() = record;
    Send(message);
  }
  void RegisterWell() {
    Hello();
    Register(MembershipProof(Cluster(0), Exported(), identity_.get().node_id()),
             Sign(Record(), identity_.get()));
  }
  bool closed() const { return host_.closed.contains(id_); }
  uint64_t code() const { return closed() ? host_.closed.at(id_).code : UINT64_MAX; }
  // The last refusal it got.
  pb::Refused::Reason refusal() const {
    pb::Refused::Reason reason = pb::Refused::REASON_UNSPECIFIED;
    for (const std::string& bytes : host_.messages) {
      pb::NucleusMessage message;
      if (message.ParseFromString(bytes) && message.has_refused()) {
        reason = message.refused().reason();
      }
    }
    return reason;
  }
  const Identity& identity() const { return identity_.get(); }
  size_t messages() const { return host_.messages.size(); }

 private:
  TestIdentity identity_;
  quic::TestHost host_;
  TestNetwork& network_;
  quic::ConnectionId id_{};
  mutable uint64_t sequence_ = 0;
};

TEST_F(NucleusSim, AProofOfAnotherConnectionOrNodeIsWorthNothing) {
  HostileNode honest(network_, nucleus_, "203.0.113.1:1");
  honest.Hello();
  const std::string proof =
      MembershipProof(Cluster(0), honest.Exported(), honest.identity().node_id());
  HostileNode thief(network_, nucleus_, "203.0.113.2:2");
  thief.Hello();
  thief.Register(proof, Sign(thief.Record(), thief.identity()));
  EXPECT_EQ(thief.refusal(), pb::Refused::REASON_NOT_A_MEMBER);
  EXPECT_EQ(thief.code(), CloseCodeOf(pb::Refused::REASON_NOT_A_MEMBER));
  HostileNode other(network_, nucleus_, "203.0.113.3:3");
  other.Hello();
  other.Register(MembershipProof(Cluster(1), other.Exported(), other.identity().node_id()),
                 Sign(other.Record(), other.identity()));
  EXPECT_EQ(other.refusal(), pb::Refused::REASON_NOT_A_MEMBER);
}

TEST_F(NucleusSim, OnlyTheNodeItselfRegistersItsRecord) {
  ClientNode& victim = AddStarted(1);
  ASSERT_TRUE(network_.RunUntil([&] { return victim.registered(); }));
  HostileNode thief(network_, nucleus_, "203.0.113.2:2");
  thief.Hello();
  NodeRecord record = thief.Record();
  record.key = victim.identity().public_key();
  thief.Register(MembershipProof(Cluster(0), thief.Exported(), thief.identity().node_id()),
                 Sign(record, victim.identity()));  // even if it is a true one
  EXPECT_EQ(thief.refusal(), pb::Refused::REASON_BAD_RECORD);
  EXPECT_TRUE(victim.registered());
}

TEST_F(NucleusSim, WhoBreaksTheRulesIsCutOff) {
  HostileNode silent(network_, nucleus_, "203.0.113.1:1");
  network_.RunFor(11s);
  EXPECT_EQ(silent.code(), kCloseTooSlow);
  HostileNode garbage(network_, nucleus_, "203.0.113.2:2");
  garbage.SendRaw("\xff\xff\xff");
  EXPECT_EQ(garbage.code(), kCloseViolation);
  HostileNode early(network_, nucleus_, "203.0.113.3:3");
  early.Register("", {});
  EXPECT_EQ(early.code(), kCloseViolation);
  HostileNode twice(network_, nucleus_, "203.0.113.4:4");
  twice.Hello();
  twice.Hello();
  EXPECT_EQ(twice.code(), kCloseViolation);
  HostileNode large(network_, nucleus_, "203.0.113.5:5");
  large.SendRaw(std::string(8193, 'x'));
  EXPECT_TRUE(large.closed());
  EXPECT_EQ(nucleus_.server->connections(), 0U);
  EXPECT_EQ(nucleus_.server->clusters().at(0).registry->size(), 0U);
}

TEST_F(NucleusSim, ANodeThatChangesTooOftenIsSlowedAndOthersAreNot) {
  HostileNode busy(network_, nucleus_, "203.0.113.1:1");
  busy.RegisterWell();
  for (int i = 0; i < 60; ++i) {
    pb::NodeMessage message;
    *message.mutable_update()->mutable_record() = Sign(busy.Record(), busy.identity());
    busy.Send(message);
  }
  EXPECT_EQ(busy.refusal(), pb::Refused::REASON_TOO_FAST);
  EXPECT_LT(nucleus_.server->counters().records, 60U);
  ClientNode& a = AddStarted(1);
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
}

TEST_F(NucleusSim, ANewerConnectionOfANodeTakesOver) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered() && b.registered(); }));
  network_.Detach(a.at);
  a.at = *Endpoint::Parse("203.0.113.9:4000");
  a.self.hosts = {a.at};
  a.wall_nanos += 1'000'000;
  a.Start();  // the old connection is not closed
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
  network_.RunFor(1s);
  EXPECT_EQ(nucleus_.server->connections(), 2U);
  EXPECT_EQ(nucleus_.server->clusters().at(0).connected, 2U);
  EXPECT_EQ(b.known.at("n1").candidates.front().endpoint, a.at);
}

// ------------------------------------------------------------------------------- a hostile Nucleus

TEST(KnownRecords, WhatANucleusMakesUpChangesNothing) {
  const TestIdentity self;
  const TestIdentity peer;
  const TestIdentity forger;
  int changed = 0;
  int unlisted = 0;
  KnownRecords records(Cluster(0).key.id(), self.get().node_id(),
                       {.changed = [&](const NodeRecord&) { ++changed; },
                        .unlisted = [&](const NodeId&) { ++unlisted; }});
  const auto record = [&](uint64_t sequence) {
    return NodeRecord{.cluster = Cluster(0).key.id(),
                      .key = peer.get().public_key(),
                      .sequence = sequence,
                      .name = "peer",
                      .addresses = {},
                      .routes = {},
                      .candidates = {},
                      .capabilities = {}};
  };
  const auto apply = [&](const pb::SignedRecord& message) {
    pb::Delta delta;
    delta.set_registry(1);
    *delta.add_records() = message;
    records.Apply(delta);
  };
  apply(Sign(record(5), peer.get()));
  EXPECT_EQ(changed, 1);
  apply(Sign(record(4), peer.get()));  // an old one
  apply(Sign(record(5), peer.get()));  // again
  pb::SignedRecord forged = Sign(record(6), peer.get());
  forged.mutable_signature()->back() ^= 1;
  apply(forged);
  pb::SignedRecord foreign = Sign(record(7), peer.get());
  foreign.set_signature(
      AsString(forger.get().Sign("omninervous node record v1", AsBytes(foreign.record()))));
  apply(foreign);
  apply({});
  EXPECT_EQ(changed, 1);
  EXPECT_EQ(records.refused(), 3U);
  // Hiding it can.
  pb::Delta hidden;
  hidden.set_from_beginning(true);
  hidden.set_caught_up(true);
  records.Apply(hidden);
  EXPECT_EQ(unlisted, 1);
}

TEST(KnownRecords, AListThatBreaksOffHidesNobodyAndBeginsAnew) {
  const TestIdentity self;
  const TestIdentity peer;
  int unlisted = 0;
  KnownRecords records(
      Cluster(0).key.id(), self.get().node_id(),
      {.changed = [](const NodeRecord&) {}, .unlisted = [&](const NodeId&) { ++unlisted; }});
  pb::Delta delta;
  delta.set_registry(9);
  delta.set_revision(4);
  delta.set_caught_up(true);
  *delta.add_records() = Sign({.cluster = Cluster(0).key.id(),
                               .key = peer.get().public_key(),
                               .sequence = 1,
                               .name = "peer",
                               .addresses = {},
                               .routes = {},
                               .candidates = {},
                               .capabilities = {}},
                              peer.get());
  records.Apply(delta);
  EXPECT_EQ(records.revision(), 4U);
  pb::Delta first_part;
  first_part.set_registry(9);
  first_part.set_revision(2);
  first_part.set_from_beginning(true);
  records.Apply(first_part);
  EXPECT_EQ(records.revision(), 0U);
  records.OnReconnected();
  EXPECT_EQ(unlisted, 0);
}

}  // namespace
}  // namespace omni
