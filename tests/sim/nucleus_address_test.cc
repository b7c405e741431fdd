// SPDX-License-Identifier: Apache-2.0
// Addresses that a Nucleus gives: to nodes that keep to the rules, and to those that do not.
#include "common/encoding.h"
#include "signal/record/codes.h"
#include "tests/sim/hostile_node.h"
#include "tests/sim/nucleus_sim.h"

namespace omni {
namespace {

class AddressSim : public NucleusSim {
 protected:
  ClientNode& AddAuto(int number) {
    ClientNode& node = Add(number);
    node.self.addresses.clear();
    node.self.source = AddressSource::kAllocated;
    node.Start();
    return node;
  }
  const Registry& registry() const { return *nucleus_.server->clusters().at(0).registry; }
};

TEST_F(AddressSim, ANodeWithoutAnAddressGetsOneOfEachPoolAndOthersLearnIt) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddAuto(2);
  ClientNode& c = AddAuto(3);
  ASSERT_TRUE(network_.RunUntil([&] {
    return a.Knows("n2") && a.known.at("n2").addresses.size() == 2 && a.Knows("n3") &&
           a.known.at("n3").addresses.size() == 2;
  }));
  EXPECT_EQ(a.known.at("n2").addresses, b.self.addresses);
  EXPECT_NE(b.self.addresses[0], c.self.addresses[0]);
  EXPECT_NE(b.self.addresses[1], c.self.addresses[1]);
  EXPECT_EQ(b.allocated[0].length, 24);
  EXPECT_TRUE(nucleus_.pools[0].Contains(b.self.addresses[0]));
  EXPECT_EQ(registry().leases(), 4U);
}

TEST_F(AddressSim, AnAddressIsStableOverRestartsOfBoth) {
  ClientNode& b = AddAuto(2);
  ASSERT_TRUE(network_.RunUntil([&] { return !b.self.addresses.empty(); }));
  const auto addresses = b.self.addresses;
  network_.RunFor(1s);
  nucleus_.Kill();
  nucleus_.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return b.client->view().connections == 2; }));
  network_.RunFor(1s);
  EXPECT_EQ(b.self.addresses, addresses);
  b.self.addresses.clear();  // its disk is lost, its identity is not
  b.wall_nanos += 1'000'000;
  b.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return !b.self.addresses.empty(); }));
  EXPECT_EQ(b.self.addresses, addresses);
  EXPECT_EQ(registry().leases(), 2U);
}

TEST_F(AddressSim, ANucleusThatLostItsRegistryGivesWhatTheNodeHad) {
  ClientNode& b = AddAuto(2);
  ASSERT_TRUE(network_.RunUntil([&] { return !b.self.addresses.empty(); }));
  const auto addresses = b.self.addresses;
  network_.RunFor(1s);
  nucleus_.LoseRegistry();
  nucleus_.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return registry().leases() == 2; }));
  network_.RunFor(1s);
  EXPECT_EQ(b.self.addresses, addresses);
}

TEST_F(AddressSim, WhoseAddressWentToAnotherMeanwhileGetsANewOne) {
  ClientNode& b = AddAuto(2);
  ASSERT_TRUE(network_.RunUntil([&] { return !b.self.addresses.empty(); }));
  const auto addresses = b.self.addresses;
  network_.RunFor(1s);
  nucleus_.LoseRegistry();
  network_.Detach(b.at);
  nucleus_.Start();
  ClientNode& thief = Add(3);
  thief.self.addresses = addresses;  // static ones
  thief.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return thief.registered(); }));
  b.wall_nanos += 1'000'000;
  b.Start();
  ASSERT_TRUE(network_.RunUntil(
      [&] { return b.registered() && b.self.addresses.size() == 2 && registry().leases() == 2; }));
  EXPECT_NE(b.self.addresses[0], addresses[0]);
  EXPECT_NE(b.self.addresses[1], addresses[1]);
  ASSERT_TRUE(network_.RunUntil(
      [&] { return thief.Knows("n2") && thief.known.at("n2").addresses == b.self.addresses; }));
}

TEST_F(AddressSim, WhatIsReleasedIsFreeForOthers) {
  ClientNode& b = AddAuto(2);
  ASSERT_TRUE(network_.RunUntil([&] { return !b.self.addresses.empty(); }));
  const auto addresses = b.self.addresses;
  network_.RunFor(1s);
  b.Change([](auto& self) {
    self.source = AddressSource::kReleasing;
    self.addresses.clear();
  });
  ASSERT_TRUE(network_.RunUntil([&] { return b.self.source == AddressSource::kConfigured; }));
  network_.RunFor(1s);
  EXPECT_EQ(registry().leases(), 0U);
  ClientNode& c = Add(3);
  c.self.addresses = addresses;
  c.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return c.registered(); }));
}

TEST_F(AddressSim, WithoutAPoolTheNodeSaysSoAndStaysRegistered) {
  nucleus_.Kill();
  nucleus_.pools.clear();
  nucleus_.Start();
  ClientNode& b = AddAuto(2);
  ASSERT_TRUE(network_.RunUntil([&] { return b.registered(); }));
  network_.RunFor(2s);
  EXPECT_TRUE(b.registered());
  EXPECT_NE(b.client->view().last_error.find("no pool"), std::string::npos);
  EXPECT_EQ(nucleus_.server->counters().refused.at("REASON_NO_ADDRESS"), 1U);
  network_.RunFor(35s);  // it asks again
  EXPECT_EQ(nucleus_.server->counters().refused.at("REASON_NO_ADDRESS"), 2U);
}

TEST_F(AddressSim, WhatTheMachineCannotTakeIsSaid) {
  ClientNode& b = Add(2);
  b.self.addresses.clear();
  b.self.source = AddressSource::kAllocated;
  b.taken = absl::FailedPreconditionError("our LAN lies there");
  b.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return !b.allocated.empty(); }));
  network_.RunFor(1s);
  EXPECT_NE(b.client->view().last_error.find("our LAN lies there"), std::string::npos);
  b.taken = absl::OkStatus();
  ASSERT_TRUE(network_.RunUntil([&] { return !b.self.addresses.empty(); }));
  EXPECT_TRUE(b.client->view().last_error.empty());
}

TEST_F(AddressSim, AHostileNodeGetsOneLeaseAndIsSlowed) {
  HostileNode greedy(network_, nucleus_, "203.0.113.1:1");
  greedy.RegisterWell();
  pb::NodeMessage ask;
  for (int i = 0; i < 16; ++i) {
    ask.mutable_allocate()->add_wanted(AsString(IpAddress::Parse("10.99.0.7")->raw()));
  }
  pb::NodeMessage release;
  release.mutable_release();
  for (int i = 0; i < 30; ++i) {
    greedy.Send(ask);
    greedy.Send(release);
  }
  EXPECT_EQ(greedy.refusal(), pb::Refused::REASON_TOO_FAST);
  EXPECT_LE(registry().leases(), 2U);
  ask.mutable_allocate()->add_wanted("\x0a\x63\x00\x08");
  greedy.Send(ask);
  EXPECT_EQ(greedy.code(), kCloseViolation);
  HostileNode malformed(network_, nucleus_, "203.0.113.2:2");
  malformed.RegisterWell();
  pb::NodeMessage bad;
  bad.mutable_allocate()->add_wanted("12345");
  malformed.Send(bad);
  EXPECT_EQ(malformed.code(), kCloseViolation);
  HostileNode early(network_, nucleus_, "203.0.113.3:3");
  early.Hello();
  early.Send(release);
  EXPECT_EQ(early.code(), kCloseViolation);
}

TEST_F(AddressSim, ALeaseOfAnotherCannotBeClaimedInARecord) {
  ClientNode& b = AddAuto(2);
  ASSERT_TRUE(network_.RunUntil([&] { return !b.self.addresses.empty(); }));
  const auto addresses = b.self.addresses;
  b.Change([](auto& self) { self.addresses.clear(); });  // its record does not say so (yet)
  network_.RunFor(1s);
  ClientNode& thief = Add(3);
  thief.self.addresses = addresses;
  thief.Start();
  network_.RunFor(3s);
  EXPECT_FALSE(thief.registered());
  EXPECT_NE(thief.client->view().last_error.find("belongs to another node"), std::string::npos);
}

}  // namespace
}  // namespace omni
