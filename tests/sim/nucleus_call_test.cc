// SPDX-License-Identifier: Apache-2.0
// Calls: a node asks another one, through the Nucleus, to open its NAT.
#include "tests/sim/nucleus_sim.h"

namespace omni {
namespace {

TEST_F(NucleusSim, ACallReachesItsNodeAndNoOther) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ClientNode& c = AddStarted(3);
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2") && b.Knows("n3") && c.Knows("n1"); }));
  a.client->Call(b.identity().node_id(), network_.now());
  network_.RunFor(1s);
  EXPECT_EQ(b.calls, std::vector{a.identity().node_id()});
  EXPECT_TRUE(a.calls.empty() && c.calls.empty());
  EXPECT_EQ(nucleus_.server->counters().calls, 1U);
}

TEST_F(NucleusSim, ACallGoesNowhereButToConnectedNodesOfTheCluster) {
  ClientNode& a = AddStarted(1);
  ClientNode& gone = AddStarted(2);
  ClientNode& foreign = AddStarted(3, 1);
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2") && foreign.registered(); }));
  gone.client->Shutdown(network_.now());
  network_.RunFor(1s);
  for (const NodeId& id : {gone.identity().node_id(), foreign.identity().node_id(),
                           a.identity().node_id(), NodeId()}) {
    a.client->Call(id, network_.now());
  }
  network_.RunFor(1s);
  EXPECT_TRUE(a.calls.empty() && gone.calls.empty() && foreign.calls.empty());
  EXPECT_EQ(nucleus_.server->counters().calls, 0U);
  EXPECT_TRUE(a.registered()) << "it broke no rule";
}

TEST_F(NucleusSim, WhoCallsAllTheTimeIsNotPassedOnAllTheTime) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2") && b.Knows("n1"); }));
  // As many as its own queue takes, for ten seconds.
  for (int i = 0; i < 100; ++i) {
    for (int j = 0; j < 100; ++j) a.client->Call(b.identity().node_id(), network_.now());
    network_.RunFor(100ms);
  }
  network_.RunFor(5s);
  EXPECT_GE(b.calls.size(), 1000U);
  EXPECT_LE(b.calls.size(), 1000U + 15 * 100U);
  EXPECT_TRUE(b.registered()) << "who is called loses nothing";
}

TEST_F(NucleusSim, WithoutARegistrationNobodyIsCalled) {
  ClientNode& a = Add(1);
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return b.registered(); }));
  network_.Cut(a.at);
  a.Start();
  a.client->Call(b.identity().node_id(), network_.now());
  network_.Heal();
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
  network_.RunFor(1s);
  EXPECT_TRUE(b.calls.empty()) << "a call that is late is none";
}

}  // namespace
}  // namespace omni
