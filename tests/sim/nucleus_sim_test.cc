// SPDX-License-Identifier: Apache-2.0
// How nodes and their Nucleus behave when all keep to the rules, and the world does not.
#include "tests/sim/nucleus_sim.h"

namespace omni {
namespace {

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

// More than are told in one go.
TEST_F(NucleusSim, AFleetHearsOfChangesThatCameWhileItWasTold) {
  std::vector<ClientNode*> all;
  for (int i = 1; i <= 70; ++i) all.push_back(&AddStarted(i));
  ASSERT_TRUE(network_.RunUntil(
      [&] { return std::ranges::all_of(all, [](auto* n) { return n->known.size() == 69; }); }));
  network_.RunFor(2s);
  const auto before = nucleus_.server->counters();
  all[0]->Change([](auto& self) { self.name = "first"; });
  ASSERT_TRUE(network_.RunUntil(
      [&] { return std::ranges::any_of(all, [](const auto* n) { return n->Knows("first"); }); }));
  all[69]->Change([](auto& self) { self.name = "second"; });
  network_.RunFor(2s);
  for (size_t i = 1; i < 69; ++i) {
    EXPECT_TRUE(all[i]->Knows("first") && all[i]->Knows("second")) << i;
  }
  EXPECT_LE(nucleus_.server->counters().deltas - before.deltas, 140U);
}

TEST_F(NucleusSim, ANucleusThatEndsTellsEverybodyAndTakesNobodyBack) {
  ClientNode& a = AddStarted(1);
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
  nucleus_.server->Shutdown(network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return !a.registered(); }));
  network_.RunFor(60s);
  EXPECT_FALSE(a.registered());
  EXPECT_EQ(a.client->view().connections, 1U);
  EXPECT_EQ(nucleus_.server->connections(), 0U);
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

TEST_F(NucleusSim, AChangeThatTookTheWayToTheNucleusIsNoticedInSeconds) {
  ClientNode& a = AddStarted(1);
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
  network_.RunFor(60s);
  network_.Cut(nucleus_.endpoints.front());
  a.Change([](NucleusClient::Self& self) { self.hosts = {*Endpoint::Parse("203.0.113.9:51900")}; });
  const Instant before = network_.now();
  ASSERT_TRUE(network_.RunUntil([&] { return !a.registered(); }));
  EXPECT_LT(network_.now() - before, 3s);
  EXPECT_EQ(a.client->view().last_error, "it does not answer our update");
  network_.Heal();
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
  EXPECT_LT(network_.now() - before, 4s);
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

}  // namespace
}  // namespace omni
