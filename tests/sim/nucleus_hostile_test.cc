// SPDX-License-Identifier: Apache-2.0
// A hostile node towards a Nucleus, and a hostile Nucleus towards a node.
#include "common/encoding.h"
#include "signal/record/codes.h"
#include "signal/record/proof.h"
#include "tests/sim/hostile_node.h"
#include "tests/sim/nucleus_sim.h"

namespace omni {
namespace {

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
  KnownRecords records({Cluster(0).key.id()}, self.get().node_id(),
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
      {Cluster(0).key.id()}, self.get().node_id(),
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
