// SPDX-License-Identifier: Apache-2.0
// Peers that a Nucleus told of, beside those that somebody configured.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "controller/core/testing.h"
#include "signal/record/record.h"

namespace omni {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

NodeRecord RecordOf(const TestNode& node, uint64_t sequence = 1) {
  NodeRecord record{.cluster = {},
                    .key = node.identity.public_key(),
                    .sequence = sequence,
                    .name = node.config.name,
                    .addresses = {node.config.addresses[0].address},
                    .routes = {},
                    .candidates = {{CandidateKind::kHost, node.endpoint}},
                    .capabilities = {}};
  return record;
}

class LearnedTest : public ::testing::Test {
 protected:
  void Start(TestNode& node) {
    ASSERT_TRUE(node.StartController().ok());
    node.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([&] { return node.Connected(); }));
  }
  const Peer* Find(const std::string& name) const { return a_.controller->peers().Find(name); }
  const std::vector<std::string>& ProblemsOf(const TestNode& node) const {
    return a_.controller->learned().at(node.identity.node_id()).problems;
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
  TestNode c_{loop_, "c", 3};
};

TEST_F(LearnedTest, ARecordMakesAPeerThatIsCalledOnlyWhenThereIsTraffic) {
  Start(a_);
  Start(b_);
  a_.controller->OnRecord(RecordOf(b_));
  b_.controller->OnRecord(RecordOf(a_));
  loop_.Drain();
  ASSERT_NE(Find("b"), nullptr);
  EXPECT_EQ(Find("b")->origin, PeerOrigin::kNucleus);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kIdle);
  EXPECT_EQ(std::ranges::count(a_.dataplane.journal, "send 5"), 0);
  a_.controller->Initiate(b_.identity.node_id());
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kUp; }));
  EXPECT_EQ(Find("b")->endpoint, b_.endpoint);
}

TEST_F(LearnedTest, EachCandidateIsTriedAndTheOneThatAnswersWins) {
  Start(a_);
  Start(b_);
  NodeRecord record = RecordOf(b_);
  record.candidates.insert(record.candidates.begin(),
                           {CandidateKind::kHost, *Endpoint::Parse("203.0.113.1:1")});
  // Into the tunnel itself nothing is sent.
  record.candidates.push_back({CandidateKind::kHost, *Endpoint::Parse("10.77.0.2:51900")});
  a_.controller->OnRecord(record);
  b_.controller->OnRecord(RecordOf(a_));
  loop_.Drain();
  a_.controller->Initiate(b_.identity.node_id());
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kUp; }));
  EXPECT_EQ(std::ranges::count(a_.dataplane.journal, "send 5"), 2);
  EXPECT_EQ(Find("b")->endpoint, b_.endpoint);
}

TEST_F(LearnedTest, AddressesOutsideOurNetworksAndRoutesThatAreNotAcceptedAreNotUsed) {
  a_.config.nucleus.accept_routes = {*IpPrefix::Parse("192.168.0.0/16")};
  Start(a_);
  NodeRecord record = RecordOf(b_);
  record.addresses.push_back(*IpAddress::Parse("8.8.8.8"));
  record.addresses.push_back(*IpAddress::Parse("10.77.0.1"));  // ours
  record.routes = {*IpPrefix::Parse("192.168.7.0/24"), *IpPrefix::Parse("0.0.0.0/0")};
  a_.controller->OnRecord(record);
  EXPECT_EQ(Find("b")->spec.allowed, (std::vector<IpPrefix>{*IpPrefix::Parse("10.77.0.2/32"),
                                                            *IpPrefix::Parse("192.168.7.0/24")}));
  EXPECT_THAT(ProblemsOf(b_), Contains(HasSubstr("8.8.8.8 lies in no network")));
  EXPECT_THAT(ProblemsOf(b_), Contains(HasSubstr("10.77.0.1/32 is an address of this node")));
  EXPECT_THAT(ProblemsOf(b_), Contains(HasSubstr("0.0.0.0/0 is not accepted")));
}

TEST_F(LearnedTest, WhoHadAnAddressFirstKeepsItUntilItGoes) {
  Start(a_);
  a_.controller->OnRecord(RecordOf(b_));
  NodeRecord thief = RecordOf(c_);
  thief.addresses = {b_.config.addresses[0].address};
  a_.controller->OnRecord(thief);
  EXPECT_EQ(Find("c"), nullptr);
  EXPECT_THAT(ProblemsOf(c_), Contains(HasSubstr("10.77.0.2/32 belongs to the peer \"b\"")));
  NodeRecord moved = RecordOf(b_, 2);
  moved.addresses = {*IpAddress::Parse("10.77.0.9")};
  a_.controller->OnRecord(moved);
  ASSERT_NE(Find("c"), nullptr);
  EXPECT_TRUE(ProblemsOf(c_).empty());
}

TEST_F(LearnedTest, TwoNodesOfOneNameAreToldApart) {
  Start(a_);
  a_.controller->OnRecord(RecordOf(b_));
  NodeRecord namesake = RecordOf(c_);
  namesake.name = "b";
  a_.controller->OnRecord(namesake);
  EXPECT_NE(Find("b-" + c_.identity.node_id().ToString().substr(0, 8)), nullptr);
}

TEST_F(LearnedTest, AConfiguredPeerTakesThePlaceAndGivesItBack) {
  Start(a_);
  a_.controller->OnRecord(RecordOf(b_));
  a_.controller->OnRecord(RecordOf(c_));
  PeerSpec mine = b_.Spec();
  mine.name = "c";     // the name of another one,
  mine.endpoint = {};  // and where it is, only the record says
  ASSERT_TRUE(a_.controller->AddPeer(mine.Clone()).ok());
  EXPECT_EQ(Find("c")->origin, PeerOrigin::kApi);
  EXPECT_EQ(Find("c")->id(), b_.identity.node_id());
  EXPECT_EQ(Find("b"), nullptr);
  EXPECT_NE(Find("c-" + c_.identity.node_id().ToString().substr(0, 8)), nullptr);
  // A later record changes nothing of it.
  NodeRecord later = RecordOf(b_, 2);
  later.addresses = {*IpAddress::Parse("10.77.0.9")};
  a_.controller->OnRecord(later);
  EXPECT_EQ(Find("c")->spec, mine);
  ASSERT_TRUE(a_.controller->RemovePeer("c").ok());
  EXPECT_EQ(Find("b")->origin, PeerOrigin::kNucleus);
  EXPECT_EQ(a_.controller->RemovePeer("b").code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(LearnedTest, APeerThatTheNucleusHidesGoesWhenItHasNoSession) {
  a_.session_check_interval = std::chrono::milliseconds(10);
  Start(a_);
  Start(b_);
  a_.controller->OnRecord(RecordOf(b_));
  a_.controller->OnRecord(RecordOf(c_));
  b_.controller->OnRecord(RecordOf(a_));
  loop_.Drain();
  a_.controller->Initiate(b_.identity.node_id());
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kUp; }));
  a_.controller->OnUnlisted(b_.identity.node_id());
  a_.controller->OnUnlisted(c_.identity.node_id());
  EXPECT_EQ(Find("c"), nullptr);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kUp);
  a_.dataplane.Restart();  // what it held is gone
  a_.dataplane.Connect();
  EXPECT_TRUE(loop_.RunUntil([&] { return Find("b") == nullptr; }));
}

}  // namespace
}  // namespace omni
