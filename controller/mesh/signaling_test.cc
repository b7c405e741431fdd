// SPDX-License-Identifier: Apache-2.0
#include "controller/mesh/signaling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "controller/mesh/testing.h"
#include "signal/record/codes.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class SignalingTest : public ::testing::Test {
 protected:
  static void Connect(MeshNode& a, MeshNode& b) {
    a.sessions[b.id()] = b.at;
    b.sessions[a.id()] = a.at;
  }
  quic::TestNetwork network_;
  MeshNode a_{network_, 1};
  MeshNode b_{network_, 2};
  MeshNode c_{network_, 3};
};

TEST_F(SignalingTest, TwoNodesLearnOfEachOtherByOneConnection) {
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return b_.SequenceOf(a_) == 1 && a_.SequenceOf(b_) == 1; }));
  ASSERT_THAT(a_.connections(), SizeIs(1));
  EXPECT_FALSE(a_.connections()[0].accepted);
  ASSERT_THAT(b_.connections(), SizeIs(1));
  EXPECT_TRUE(b_.connections()[0].accepted);
  EXPECT_EQ(b_.connections()[0].peer, a_.id());
}

TEST_F(SignalingTest, AChangeGoesOverTheConnectionThatThereIs) {
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return a_.SequenceOf(b_) == 1; }));
  b_.SetSequence(7);
  b_.Exchange(a_);
  ASSERT_TRUE(network_.RunUntil([&] { return a_.SequenceOf(b_) == 7; }));
  EXPECT_EQ(b_.signaling->view(network_.now()).handshakes, 1U);
}

TEST_F(SignalingTest, WhatIsKnownByThenIsNotFetched) {
  a_.signaling->Exchange(b_.id(), {.at = b_.at, .due = network_.now() + 1s, .sequence = 1});
  network_.RunFor(500ms);
  a_.Take(b_.own);
  network_.RunFor(5s);
  EXPECT_EQ(b_.datagrams, 0U);
  EXPECT_FALSE(a_.signaling->NextDeadline());
}

TEST_F(SignalingTest, IdleConnectionsAreClosedAndNothingIsLeftToDo) {
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return a_.SequenceOf(b_) == 1; }));
  network_.RunFor(50s);
  EXPECT_THAT(a_.connections(), SizeIs(1)) << "kept alive for a while";
  network_.RunFor(30s);
  EXPECT_THAT(a_.connections(), IsEmpty());
  EXPECT_THAT(b_.connections(), IsEmpty());
  const size_t datagrams = a_.datagrams + b_.datagrams;
  network_.RunFor(600s);
  EXPECT_EQ(a_.datagrams + b_.datagrams, datagrams);
}

TEST_F(SignalingTest, AConnectionFollowsItsClientToAnotherAddress) {
  Connect(a_, b_);
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return a_.SequenceOf(b_) == 1; }));
  const std::string id = b_.connections().at(0).id;
  EXPECT_EQ(a_.connections().at(0).id, id);
  a_.MoveTo("203.0.113.77:51900");
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return b_.SequenceOf(a_) == 2; }));
  network_.RunFor(1s);
  ASSERT_THAT(b_.connections(), SizeIs(1));
  EXPECT_EQ(b_.connections()[0].id, id) << "the same connection";
  EXPECT_EQ(b_.connections()[0].moves, 1U);
  EXPECT_EQ(b_.connections()[0].at, a_.at);
  EXPECT_EQ(b_.signaling->view(network_.now()).handshakes, 1U) << "and no new TLS handshake";
}

TEST_F(SignalingTest, AServerThatMovesBeginsAnew) {
  Connect(a_, b_);
  b_.Exchange(a_);
  ASSERT_TRUE(network_.RunUntil([&] { return b_.SequenceOf(a_) == 1; }));
  a_.MoveTo("203.0.113.77:51900");
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return b_.SequenceOf(a_) == 2; }));
}

TEST_F(SignalingTest, APeerThatForgotUsIsReachedAgain) {
  Connect(a_, b_);
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return a_.SequenceOf(b_) == 1; }));
  b_.Restart();
  a_.SetSequence(5);
  a_.Exchange(b_);
  const Instant before = network_.now();
  ASSERT_TRUE(network_.RunUntil([&] { return b_.SequenceOf(a_) == 5; }));
  EXPECT_LT(network_.now() - before, 10s);
}

TEST_F(SignalingTest, ACommonPeerTellsWhereAThirdOneIsAndPassesTheCallOn) {
  Connect(a_, b_);
  Connect(b_, c_);
  b_.Take(a_.own);
  b_.Take(c_.own);
  a_.MoveTo("203.0.113.77:51900");
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return b_.SequenceOf(a_) == 2; }));
  b_.sessions[a_.id()] = a_.at;
  c_.signaling->Call(a_.id(), b_.id(), network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return c_.SequenceOf(a_) == 2 && !a_.calls.empty(); }));
  EXPECT_THAT(a_.calls, ElementsAre(c_.id()));
  EXPECT_EQ(a_.SequenceOf(c_), 1U) << "with the record of who calls";
}

TEST_F(SignalingTest, ACallToWhomThereIsNoSessionGoesNowhere) {
  Connect(b_, c_);
  b_.Take(a_.own);
  c_.signaling->Call(a_.id(), b_.id(), network_.now());
  network_.RunFor(10s);
  EXPECT_EQ(c_.SequenceOf(a_), 1U) << "its record is told";
  EXPECT_EQ(a_.datagrams, 0U);
}

TEST_F(SignalingTest, CallsAreNotAmplified) {
  Connect(a_, b_);
  Connect(b_, c_);
  for (MeshNode* node : {&a_, &c_}) b_.Take(node->own);
  for (int i = 0; i < 1000; ++i) {
    c_.signaling->Call(a_.id(), b_.id(), network_.now());
    network_.RunFor(10ms);
  }
  network_.RunFor(5s);
  EXPECT_LE(a_.calls.size(), 20U + 5 * 15);
  EXPECT_GT(b_.signaling->view(network_.now()).refused, 0U);
}

TEST_F(SignalingTest, ANodeWhoseNumbersWereSetBackGoesOnFromTheNewest) {
  b_.Take(a_.own);
  a_.SetSequence(100);
  b_.Take(a_.own);
  a_.SetSequence(3);  // its disk and clock were lost
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return b_.SequenceOf(a_) > 100; }));
  EXPECT_EQ(a_.sequence, b_.SequenceOf(a_));
}

TEST_F(SignalingTest, AStrangerGetsSilence) {
  MeshNode stranger(network_, 66, 1);
  const size_t before = network_.bytes_to[stranger.at];
  stranger.Exchange(b_);
  network_.RunFor(30s);
  EXPECT_GT(b_.datagrams, 0U) << "it has tried";
  EXPECT_EQ(network_.bytes_to[stranger.at], before) << "not a byte";
  EXPECT_EQ(stranger.SequenceOf(b_), 0U);
  EXPECT_EQ(b_.taken, 0U);
  EXPECT_EQ(b_.signaling->view(network_.now()).unknown, b_.datagrams);
}

TEST_F(SignalingTest, WhileTheSecretChangesAllWhoShareOneFindEachOther) {
  MeshNode former(network_, 11, 0);
  MeshNode early(network_, 12, 2);
  MeshNode late(network_, 13, 3);
  MeshNode changed(network_, 14, 1);
  const std::vector<std::pair<MeshNode*, MeshNode*>> pairs = {
      {&former, &early}, {&late, &former},   {&early, &late},
      {&late, &early},   {&changed, &early}, {&late, &changed}};
  for (const auto& [from, to] : pairs) {
    from->Restart();
    to->Restart();
    // Nothing is known of the other: where two are held, tries go by turns.
    for (int i = 0; i < 4 && from->SequenceOf(*to) == 0; ++i) {
      from->Exchange(*to);
      network_.RunFor(10s);
    }
    EXPECT_EQ(from->SequenceOf(*to), 1U) << from->name << " to " << to->name;
    EXPECT_EQ(to->SequenceOf(*from), 1U) << from->name << " to " << to->name;
  }
}

TEST_F(SignalingTest, AfterTheChangeTheFormerSecretIsAStrangers) {
  MeshNode former(network_, 11, 0);
  MeshNode changed(network_, 14, 1);
  former.Exchange(changed);
  network_.RunFor(30s);
  EXPECT_GT(changed.datagrams, 0U);
  EXPECT_EQ(network_.bytes_to[former.at], 0U);
}

TEST_F(SignalingTest, ASecretThatIsKnownToBeHeldIsUsedAtOnce) {
  MeshNode former(network_, 11, 0);
  MeshNode late(network_, 13, 3);
  late.secret_of[former.id()] = MeshCluster(0).present().key.id();
  late.Exchange(former);
  const Instant began = network_.now();
  ASSERT_TRUE(network_.RunUntil([&] { return former.SequenceOf(late) == 1; }));
  EXPECT_LT(network_.now() - began, 1s);
}

TEST_F(SignalingTest, AMemberWhoWantsAnotherNodeGetsSilence) {
  // The knock is for one node: sent to another it is a stranger's.
  a_.signaling->Exchange(c_.id(), {.at = b_.at, .due = network_.now()});
  network_.RunFor(30s);
  EXPECT_GT(b_.datagrams, 0U);
  EXPECT_EQ(network_.bytes_to[a_.at], 0U);
}

// Keeps what arrives at an address.
class Tap : public quic::NetworkNode {
 public:
  Tap(quic::TestNetwork& network, const std::string& where)
      : at(*Endpoint::Parse(where)), network_(network) {
    network_.Attach(at, this);
  }
  ~Tap() override { network_.Detach(at); }
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint&, Instant) override {
    datagrams.emplace_back(datagram.begin(), datagram.end());
  }
  void OnTimer(Instant) override {}
  std::optional<Instant> NextDeadline() const override { return std::nullopt; }
  Endpoint at;
  std::vector<std::vector<uint8_t>> datagrams;

 private:
  quic::TestNetwork& network_;
};

TEST_F(SignalingTest, AReplayedKnockIsNotAnswered) {
  Tap eavesdropper(network_, "203.0.113.5:1");
  a_.signaling->Exchange(b_.id(), {.at = eavesdropper.at, .due = network_.now()});
  network_.RunFor(1s);
  ASSERT_FALSE(eavesdropper.datagrams.empty());
  const std::vector<uint8_t> first = eavesdropper.datagrams.front();
  // What begins a connection once (the real one was held back) does not begin another.
  network_.Send(a_.at, b_.at, first);
  network_.RunFor(120s);
  const uint64_t answered = network_.bytes_to[a_.at];
  EXPECT_GT(answered, 0U);
  for (int i = 0; i < 10; ++i) network_.Send(eavesdropper.at, b_.at, first);
  const size_t before = eavesdropper.datagrams.size();
  network_.RunFor(30s);
  EXPECT_EQ(eavesdropper.datagrams.size(), before);
  EXPECT_EQ(b_.signaling->view(network_.now()).replayed, 10U);
}

class HostileMember : public SignalingTest {
 protected:
  HostileMember() {
    raw_.Connect(b_);
    EXPECT_TRUE(network_.RunUntil([&] { return raw_.connected; }));
  }
  MeshNode evil_{network_, 9};
  RawMember raw_{network_, evil_, "203.0.113.9:51900"};
};

TEST_F(HostileMember, WhoCannotProveMembershipOnThisConnectionIsNotListenedTo) {
  raw_.Hello(evil_.own, a_.id());  // a proof for another node
  ASSERT_TRUE(network_.RunUntil([&] { return raw_.closed.has_value(); }));
  EXPECT_EQ(raw_.closed->code, kCloseViolation);
  EXPECT_EQ(b_.taken, 0U);
}

TEST_F(HostileMember, NothingIsTakenBeforeHello) {
  pb::PeerMessage message;
  *message.mutable_records()->add_records() = evil_.own;
  raw_.Say(message.SerializeAsString());
  ASSERT_TRUE(network_.RunUntil([&] { return raw_.closed.has_value(); }));
  EXPECT_EQ(b_.taken, 0U);
}

TEST_F(HostileMember, WhoNeverSaysHelloIsClosed) {
  ASSERT_TRUE(network_.RunUntil([&] { return raw_.closed.has_value(); }));
  EXPECT_EQ(raw_.closed->code, kCloseViolation);
}

TEST_F(HostileMember, ForgedRecordsChangeNothing) {
  b_.Take(a_.own);
  raw_.Hello(evil_.own, evil_.id());
  pb::PeerMessage message;
  pb::SignedRecord forged = a_.own;
  forged.mutable_record()->back() ^= 1;
  *message.mutable_records()->add_records() = forged;
  a_.SetSequence(9);
  forged = a_.own;
  forged.set_signature(evil_.own.signature());
  *message.mutable_records()->add_records() = forged;
  raw_.Say(message.SerializeAsString());
  network_.RunFor(1s);
  EXPECT_EQ(b_.SequenceOf(a_), 1U);
  EXPECT_EQ(b_.SequenceOf(evil_), 1U);
}

TEST_F(HostileMember, HowMuchItSaysIsBounded) {
  raw_.Hello(evil_.own, evil_.id());
  pb::PeerMessage message;
  *message.mutable_records()->add_records() = a_.own;
  for (int i = 0; i < 2000; ++i) {
    raw_.Say(message.SerializeAsString());
    if (i % 20 == 0) network_.RunFor(10ms);
  }
  network_.RunFor(5s);
  EXPECT_LE(b_.taken, 100U + 10 * 10);
  EXPECT_GT(b_.signaling->view(network_.now()).refused, 1000U);
  message.Clear();
  for (int i = 0; i < 5; ++i) *message.mutable_records()->add_records() = c_.own;
  raw_.Say(message.SerializeAsString());
  network_.RunFor(1s);
  EXPECT_EQ(b_.SequenceOf(c_), 0U) << "more records than one message may hold";
}

TEST_F(HostileMember, RubbishEndsTheConnection) {
  raw_.Hello(evil_.own, evil_.id());
  raw_.Say("\xff\xff\xff");
  ASSERT_TRUE(network_.RunUntil([&] { return raw_.closed.has_value(); }));
}

TEST_F(SignalingTest, ConnectionsAreBounded) {
  std::vector<std::unique_ptr<MeshNode>> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back(std::make_unique<MeshNode>(network_, 100 + i));
    many.back()->Exchange(b_);
    network_.RunFor(1s);
  }
  EXPECT_LE(b_.connections().size(), 64U);
  EXPECT_EQ(b_.known.size(), 100U) << "and nobody was turned away";
}

TEST_F(SignalingTest, WorksWithLossReorderingAndDuplication) {
  network_.loss = 0.2;
  network_.reorder = 0.3;
  network_.duplicate = 0.2;
  Connect(a_, b_);
  a_.Exchange(b_);
  ASSERT_TRUE(network_.RunUntil([&] { return b_.SequenceOf(a_) == 1 && a_.SequenceOf(b_) == 1; }));
}

}  // namespace
}  // namespace omni
