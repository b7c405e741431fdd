// SPDX-License-Identifier: Apache-2.0
// Nodes that are excluded from their cluster, over a Nucleus that helps, is away, loses what it
// knew, or lies.
#include "signal/record/codes.h"
#include "tests/sim/hostile_node.h"
#include "tests/sim/nucleus_sim.h"

namespace omni {
namespace {

pb::SignedRevocation Statement(const NodeId& node, int by = 0) {
  return Sign(
      {.cluster = Cluster(by).key.id(), .node = node, .time = 1, .name = "", .reason = "stolen"},
      Cluster(by));
}

pb::NodeMessage RevokeMessage(const pb::SignedRevocation& statement) {
  pb::NodeMessage message;
  *message.mutable_revoke()->add_revocations() = statement;
  return message;
}

class NucleusRevocation : public NucleusSim {
 protected:
  void SetUp() override {
    ASSERT_TRUE(network_.RunUntil([&] {
      return std::ranges::all_of(nodes_, [](const auto& n) { return n->known.size() == 2; });
    }));
    network_.RunFor(2s);
  }
  size_t Revoked() const { return nucleus_.server->clusters().at(0).registry->revoked().size(); }
  uint64_t Refused(pb::Refused::Reason reason) const {
    const auto& refused = nucleus_.server->counters().refused;
    const auto found = refused.find(pb::Refused::Reason_Name(reason));
    return found == refused.end() ? 0 : found->second;
  }
  ClientNode& a_ = AddStarted(1);
  ClientNode& b_ = AddStarted(2);
  ClientNode& c_ = AddStarted(3);
};

TEST_F(NucleusRevocation, IsInForceEverywhereWithinASecondAndForGood) {
  a_.Revoke(c_.id(), "stolen");
  const Instant before = network_.now();
  ASSERT_TRUE(network_.RunUntil([&] { return b_.revoked.Find(c_.id()) != nullptr; }));
  EXPECT_LT(network_.now() - before, 1s);
  EXPECT_FALSE(a_.Knows("n3") || b_.Knows("n3"));
  EXPECT_FALSE(c_.registered());
  network_.RunFor(300s);
  EXPECT_FALSE(c_.registered());
  EXPECT_NE(c_.client->view().last_error.find("this node is revoked: stolen"), std::string::npos)
      << c_.client->view().last_error;
  ASSERT_TRUE(c_.client->view().revoked.has_value());
  EXPECT_EQ(c_.client->view().revoked->node, c_.id());
  EXPECT_GE(Refused(pb::Refused::REASON_REVOKED), 2U);
  EXPECT_EQ(nucleus_.server->clusters().at(0).registry->size(), 2U);
  EXPECT_TRUE(a_.registered() && b_.registered());
}

TEST_F(NucleusRevocation, OutlivesTheNucleusAndReachesWhoWasAway) {
  b_.client->SetOffline();
  network_.Detach(b_.at);
  a_.Revoke(c_.id());
  network_.RunFor(40s);  // b's connection is given up
  nucleus_.Kill();
  nucleus_.Start();
  EXPECT_EQ(Revoked(), 1U);
  ASSERT_TRUE(network_.RunUntil([&] { return a_.registered(); }));
  EXPECT_EQ(b_.revoked.size(), 0U);
  network_.Attach(b_.at, &b_);
  b_.client->SetOnline(network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return b_.revoked.size() == 1; }));
  EXPECT_FALSE(b_.Knows("n3"));
  network_.RunFor(200s);
  EXPECT_FALSE(c_.registered());
  // Who comes new hears of it as well.
  ClientNode& d = AddStarted(4);
  ASSERT_TRUE(network_.RunUntil([&] { return d.known.size() == 2; }));
  EXPECT_EQ(d.revoked.size(), 1U);
}

TEST_F(NucleusRevocation, IsSaidWhenTheNucleusComesBackOrHasLostIt) {
  nucleus_.Kill();
  network_.RunFor(40s);
  a_.Revoke(c_.id());
  network_.RunFor(40s);
  EXPECT_TRUE(b_.Knows("n3"));
  nucleus_.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return b_.revoked.size() == 1; }));
  EXPECT_FALSE(b_.Knows("n3"));
  nucleus_.LoseRegistry();
  nucleus_.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return Revoked() == 1; }));
  network_.RunFor(200s);
  EXPECT_FALSE(c_.registered());
  // And no more often than is needed.
  EXPECT_EQ(Refused(pb::Refused::REASON_TOO_FAST), 0U);
}

TEST_F(NucleusRevocation, ForgeriesAreRefusedAndCounted) {
  HostileNode hostile(network_, nucleus_, "203.0.113.1:1");
  hostile.RegisterWell();
  pb::SignedRevocation damaged = Statement(a_.id());
  damaged.mutable_signature()->back() ^= 1;
  hostile.Send(RevokeMessage(damaged));
  EXPECT_EQ(hostile.refusal(), pb::Refused::REASON_BAD_REVOCATION);
  hostile.Send(RevokeMessage(Statement(a_.id(), 1)));  // another cluster's
  hostile.Send(RevokeMessage({}));
  EXPECT_EQ(Refused(pb::Refused::REASON_BAD_REVOCATION), 3U);
  EXPECT_FALSE(hostile.closed());
  EXPECT_EQ(Revoked(), 0U);
  EXPECT_TRUE(a_.registered());
  // A true one, again and again, changes nothing the second time.
  hostile.Send(RevokeMessage(Statement(c_.id())));
  const uint64_t revision = nucleus_.server->clusters().at(0).registry->revision();
  hostile.SendMany(RevokeMessage(Statement(c_.id())), 50);
  EXPECT_EQ(nucleus_.server->clusters().at(0).registry->revision(), revision);
  hostile.SendMany(RevokeMessage(damaged), 200);
  EXPECT_GT(Refused(pb::Refused::REASON_TOO_FAST), 0U);
}

TEST_F(NucleusRevocation, WhoBreaksTheLimitsIsCutOff) {
  HostileNode hostile(network_, nucleus_, "203.0.113.1:1");
  hostile.RegisterWell();
  pb::NodeMessage many;
  for (size_t i = 0; i <= kMaxRevocationsInMessage; ++i) {
    *many.mutable_revoke()->add_revocations() = Statement(c_.id());
  }
  hostile.Send(many);
  EXPECT_EQ(hostile.code(), kCloseViolation);
  HostileNode stranger(network_, nucleus_, "203.0.113.2:2");
  stranger.Hello();
  stranger.Send(RevokeMessage(Statement(c_.id())));  // before it has shown anything
  EXPECT_EQ(stranger.code(), kCloseViolation);
  EXPECT_EQ(Revoked(), 0U);
}

TEST_F(NucleusRevocation, ANodeThatRevokesItselfIsOut) {
  HostileNode hostile(network_, nucleus_, "203.0.113.1:1");
  hostile.RegisterWell();
  hostile.Send(RevokeMessage(Statement(hostile.identity().node_id())));
  EXPECT_EQ(hostile.code(), CloseCodeOf(pb::Refused::REASON_REVOKED));
  EXPECT_EQ(Revoked(), 1U);
}

TEST_F(NucleusRevocation, BeyondTheLimitThereIsAClearRefusal) {
  for (size_t i = 0; i < kMaxRevocations; ++i) {
    NodeId id;
    id.bytes[0] = static_cast<uint8_t>(i);
    id.bytes[1] = static_cast<uint8_t>(i >> 8U);
    id.bytes[2] = 1;
    a_.revoked.Take(Statement(id));
  }
  a_.client->OnRevoked(NodeId(), network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return b_.revoked.size() == kMaxRevocations; }));
  EXPECT_EQ(Refused(pb::Refused::REASON_TOO_FAST), 0U);
  HostileNode hostile(network_, nucleus_, "203.0.113.1:1");
  hostile.RegisterWell();
  hostile.Send(RevokeMessage(Statement(c_.id())));
  EXPECT_EQ(hostile.refusal(), pb::Refused::REASON_TOO_MANY_REVOKED);
  EXPECT_TRUE(c_.registered());
}

// ------------------------------------------------------------------------------- a hostile Nucleus

TEST(KnownRecords, ANucleusCannotRevokeAndCannotBringARevokedNodeBack) {
  const TestIdentity self;
  const TestIdentity peer;
  RevocationList list({Cluster(0).key});
  int changed = 0;
  KnownRecords records(
      {Cluster(0).key.id()}, self.get().node_id(),
      {.changed = [&](const NodeRecord&) { ++changed; },
       .unlisted = [](const NodeId&) {},
       .revoked =
           [&](const pb::SignedRevocation& message) {
             const auto outcome = list.Take(message);
             if (outcome.entry == nullptr) return std::optional<RevocationList::Key>();
             const Revocation& revocation = outcome.entry->revocation;
             return std::optional(RevocationList::Key{revocation.node, revocation.cluster});
           },
       .is_revoked = [&](const NodeId& id) { return list.Find(id) != nullptr; }});
  const auto tell = [&](uint64_t sequence) {
    pb::Delta delta;
    delta.set_registry(1);
    *delta.add_records() = Sign({.cluster = Cluster(0).key.id(),
                                 .key = peer.get().public_key(),
                                 .sequence = sequence,
                                 .name = "peer",
                                 .addresses = {},
                                 .routes = {},
                                 .candidates = {},
                                 .capabilities = {}},
                                peer.get());
    return delta;
  };
  records.Apply(tell(1));
  EXPECT_EQ(records.size(), 1U);
  pb::Delta forged;
  *forged.add_revocations() = Statement(peer.get().node_id(), 1);
  *forged.add_revocations() = {};
  records.Apply(forged);
  EXPECT_EQ(records.size(), 1U);
  EXPECT_EQ(list.refused(), 2U);
  pb::Delta sound = tell(2);  // with its record in the very same message
  *sound.add_revocations() = Statement(peer.get().node_id());
  records.Apply(sound);
  EXPECT_EQ(records.size(), 0U);
  EXPECT_TRUE(records.HasToldRevocation({peer.get().node_id(), Cluster(0).key.id()}));
  records.Apply(tell(3));
  EXPECT_EQ(records.size(), 0U);
  EXPECT_EQ(changed, 1);
}

TEST_F(NucleusRevocation, WhoPosesAsTheNucleusCanRefuseANodeButNotShowThatItIsRevoked) {
  const TestIdentity identity;
  quic::TestHost liar(network_, identity, "192.0.2.7:51900",
                      {.protocol = kSignalProtocol, .max_accepted = 1});
  ClientNode& d = Add(4);
  d.addresses = {liar.endpoint()};
  d.Start();
  ASSERT_TRUE(network_.RunUntil([&] { return !liar.messages.empty(); }));
  pb::NucleusMessage message;
  message.mutable_refused()->set_reason(pb::Refused::REASON_REVOKED);
  *message.mutable_refused()->mutable_revocation() = Statement(c_.id());  // a true one of another
  const auto id = liar.peers.begin()->first;
  ASSERT_TRUE(liar.host().Send(id, message.SerializeAsString(), network_.now()).ok());
  ASSERT_TRUE(network_.RunUntil([&] { return d.client->view().next_try.has_value(); }));
  EXPECT_NE(d.client->view().last_error.find("shows no statement"), std::string::npos)
      << d.client->view().last_error;
  EXPECT_FALSE(d.client->view().revoked.has_value());
}

}  // namespace
}  // namespace omni
