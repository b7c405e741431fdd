// SPDX-License-Identifier: Apache-2.0
#include "controller/mesh/beacons.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "signal/quic/testing.h"

namespace omni {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint16_t kPort = 51900;

Key32 KeyOf(uint8_t fill) {
  std::array<uint8_t, 32> bytes{};
  bytes.fill(fill);
  return Key32(bytes);
}

ClusterId ClusterOf(uint8_t secret) { return ClusterId{NodeId{.bytes = {secret}}}; }

std::vector<Beacons::Options::Secret> SecretsOf(const std::vector<uint8_t>& fills) {
  std::vector<Beacons::Options::Secret> secrets;
  for (const uint8_t fill : fills) secrets.push_back({ClusterOf(fill), KeyOf(fill)});
  return secrets;
}

// Some nodes on one link, and a clock that jumps.
class Node {
 public:
  explicit Node(int number, std::vector<uint8_t> secrets = {1})
      : v4(*InterfaceAddress::Parse("192.0.2." + std::to_string(number) + "/24")),
        v6(*IpAddress::Parse("fe80::" + std::to_string(number))) {
    beacons = std::make_unique<Beacons>(Beacons::Options{
        .identity = &identity_.get(),
        .secrets = SecretsOf(secrets),
        .send =
            [this](const Endpoint& to, const IpAddress& from, std::span<const uint8_t> datagram) {
              sent.push_back({to, from, {datagram.begin(), datagram.end()}});
            },
        .wall_nanos = [this] { return wall; },
        .random = [](uint32_t limit) { return limit / 2; },
        .heard = [this](const Beacons::Neighbour& neighbour) { heard.push_back(neighbour); },
        .max_heard = 20,
        .relocated = [this](const NodeId& id) { relocated.push_back(id); }});
  }
  const NodeId& id() const { return identity_.get().node_id(); }

  struct Sent {
    Endpoint to;
    IpAddress from;
    std::vector<uint8_t> bytes;
  };
  InterfaceAddress v4;
  IpAddress v6;
  uint64_t wall = 1000;
  std::vector<Sent> sent;
  std::vector<Beacons::Neighbour> heard;
  std::vector<NodeId> relocated;
  std::unique_ptr<Beacons> beacons;

 private:
  quic::TestIdentity identity_;
};

class BeaconsTest : public ::testing::Test {
 protected:
  static NetworkLink Both(const Node& node) { return {.index = 3, .v4 = node.v4, .v6 = node.v6}; }
  static NetworkLink V4(const Node& node) { return {.index = 3, .v4 = node.v4, .v6 = {}}; }

  // Brings what `from` has said to `to`, whose number for the link is 3 as well.
  void Deliver(Node& from, Node& to) {
    for (const Node::Sent& one : from.sent) Arrive(to, one.bytes, one.from);
    from.sent.clear();
  }
  void Arrive(Node& to, const std::vector<uint8_t>& bytes, const IpAddress& from) {
    to.beacons->OnDatagram(
        bytes, {.address = from, .port = kPort, .scope_id = from.is_v4() ? 0U : 3U}, now_);
  }
  void RunFor(Node& node, Duration time) {
    const Instant end = now_ + time;
    while (node.beacons->NextDeadline() && *node.beacons->NextDeadline() <= end) {
      now_ = std::max(now_, *node.beacons->NextDeadline());
      node.beacons->OnTimer(now_);
    }
    now_ = end;
  }

  Instant now_ = Instant(1000s);
  Node a_{1};
  Node b_{2};
};

TEST_F(BeaconsTest, SpeaksOnEachLinkInTheFamilyThatItHas) {
  NetworkLink other{.index = 7, .v4 = *InterfaceAddress::Parse("198.51.100.1/24"), .v6 = {}};
  a_.beacons->SetLinks({Both(a_), other}, kPort, now_);
  RunFor(a_, 500ms);
  ASSERT_THAT(a_.sent, SizeIs(2));
  EXPECT_EQ(a_.sent[0].to.ToString(), "[ff02::1%3]:51900");
  EXPECT_EQ(a_.sent[0].from, a_.v6);
  EXPECT_EQ(a_.sent[1].to.ToString(), "224.0.0.1:51900");
  EXPECT_EQ(a_.sent[1].from, other.v4->address);
}

TEST_F(BeaconsTest, WhileTheSecretChangesWhoHoldsOneOfThemHearsAndIsHeard) {
  Node both(3, {2, 1});  // 2 is the one that comes
  Node later(4, {2});
  both.beacons->SetLinks({V4(both)}, kPort, now_);
  RunFor(both, 500ms);
  ASSERT_THAT(both.sent, SizeIs(2));
  const auto said = both.sent;
  for (Node* node : {&a_, &later}) {
    node->beacons->SetLinks({V4(*node)}, kPort, now_);
    both.sent = said;
    Deliver(both, *node);
    EXPECT_THAT(node->heard, SizeIs(1));
    EXPECT_EQ(node->beacons->view().malformed, 1U) << "the dataplane drops this one";
    node->sent.clear();
    RunFor(*node, 1s);
    Deliver(*node, both);
  }
  EXPECT_EQ(both.beacons->ClusterOf(a_.id(), now_), ClusterOf(1));
  EXPECT_EQ(both.beacons->ClusterOf(later.id(), now_), ClusterOf(2));
  // Who hears both ends with the present one.
  Node other(5, {2, 1});
  other.beacons->SetLinks({V4(other)}, kPort, now_);
  both.sent = said;
  Deliver(both, other);
  EXPECT_EQ(other.beacons->ClusterOf(both.id(), now_), ClusterOf(2));
  EXPECT_EQ(other.beacons->view().heard, 2U);
}

TEST_F(BeaconsTest, SaysNothingWithoutALinkOrAPort) {
  a_.beacons->SetLinks({}, kPort, now_);
  a_.beacons->SetSequence(1, now_);
  RunFor(a_, 60s);
  a_.beacons->SetLinks({Both(a_)}, 0, now_);
  RunFor(a_, 60s);
  EXPECT_THAT(a_.sent, IsEmpty());
  EXPECT_FALSE(a_.beacons->NextDeadline());
}

TEST_F(BeaconsTest, NeighboursHearOfEachOther) {
  a_.beacons->SetLinks({Both(a_)}, kPort, now_);
  a_.beacons->SetSequence(11, now_);
  b_.beacons->SetLinks({Both(b_)}, kPort, now_);
  RunFor(a_, 500ms);
  Deliver(a_, b_);
  ASSERT_THAT(b_.heard, SizeIs(1));
  EXPECT_EQ(b_.heard[0].id, a_.id());
  EXPECT_EQ(b_.heard[0].sequence, 11U);
  EXPECT_EQ(b_.heard[0].at.ToString(), "[fe80::1%3]:51900");
  EXPECT_THAT(b_.relocated, ElementsAre(a_.id()));
  EXPECT_THAT(b_.beacons->PlacesOf(a_.id(), now_), SizeIs(1));
  // And answers soon, by a beacon of its own.
  RunFor(b_, 1s);
  Deliver(b_, a_);
  EXPECT_THAT(a_.beacons->PlacesOf(b_.id(), now_), SizeIs(1));
}

TEST_F(BeaconsTest, OftenWhileSomethingIsNewOrNobodyIsThereAndSeldomAfterwards) {
  a_.beacons->SetLinks({Both(a_)}, kPort, now_);
  RunFor(a_, 600s);
  const size_t alone = a_.sent.size();
  EXPECT_GT(alone, 600U / 5);
  EXPECT_LT(alone, 200U);
  b_.beacons->SetLinks({Both(b_)}, kPort, now_);
  RunFor(b_, 500ms);
  Deliver(b_, a_);
  a_.sent.clear();
  RunFor(a_, 10s);
  EXPECT_GE(a_.sent.size(), 3U) << "for a newcomer";
  b_.wall += 1'000'000'000;
  RunFor(b_, 60s);
  Deliver(b_, a_);
  a_.sent.clear();
  RunFor(a_, 120s);
  EXPECT_GE(a_.sent.size(), 2U);
  EXPECT_LE(a_.sent.size(), 6U) << "when all is known";
}

TEST_F(BeaconsTest, HoweverMuchHappensTwoAreHalfASecondApart) {
  a_.beacons->SetLinks({Both(a_)}, kPort, now_);
  for (uint64_t i = 0; i < 1000; ++i) {
    a_.beacons->SetSequence(i + 1, now_);
    RunFor(a_, 10ms);
  }
  EXPECT_LE(a_.sent.size(), 21U);
}

TEST_F(BeaconsTest, AReplayedBeaconHasNoEffect) {
  a_.beacons->SetLinks({Both(a_)}, kPort, now_);
  b_.beacons->SetLinks({Both(b_)}, kPort, now_);
  RunFor(a_, 5s);
  ASSERT_GE(a_.sent.size(), 2U);
  const auto old = a_.sent;
  Deliver(a_, b_);
  const size_t heard = b_.heard.size();
  for (const auto& one : old) Arrive(b_, one.bytes, one.from);
  EXPECT_THAT(b_.heard, SizeIs(heard));
  EXPECT_EQ(b_.beacons->view().replayed, old.size());
  // Nor does it keep a node there that has gone.
  RunFor(b_, 181s);
  EXPECT_THAT(b_.beacons->PlacesOf(a_.id(), now_), IsEmpty());
  EXPECT_EQ(b_.relocated.back(), a_.id());
  Arrive(b_, old.back().bytes, old.back().from);
  EXPECT_THAT(b_.beacons->PlacesOf(a_.id(), now_), IsEmpty());
}

TEST_F(BeaconsTest, ABeaconIsWorthNothingFromElsewhere) {
  a_.beacons->SetLinks({Both(a_)}, kPort, now_);
  b_.beacons->SetLinks({Both(b_)}, kPort, now_);
  RunFor(a_, 500ms);
  Arrive(b_, a_.sent[0].bytes, *IpAddress::Parse("fe80::666"));
  Arrive(b_, a_.sent[0].bytes, *IpAddress::Parse("192.0.2.66"));
  b_.beacons->OnDatagram(a_.sent[0].bytes, {.address = a_.v6, .port = 51901, .scope_id = 3}, now_);
  b_.beacons->OnDatagram(a_.sent[0].bytes, {.address = a_.v6, .port = kPort, .scope_id = 4}, now_);
  EXPECT_THAT(b_.heard, IsEmpty());
  EXPECT_EQ(b_.beacons->view().foreign, 4U);
  Deliver(a_, b_);
  EXPECT_THAT(b_.heard, SizeIs(1));
}

TEST_F(BeaconsTest, AnAddressBeyondTheLinkIsNotOnIt) {
  Node far(9);
  far.v4 = *InterfaceAddress::Parse("203.0.113.9/24");
  far.beacons->SetLinks({V4(far)}, kPort, now_);
  b_.beacons->SetLinks({Both(b_)}, kPort, now_);
  RunFor(far, 500ms);
  Deliver(far, b_);
  EXPECT_THAT(b_.heard, IsEmpty());
  EXPECT_EQ(b_.beacons->view().foreign, 1U);
}

TEST_F(BeaconsTest, StrangersAreNotHeard) {
  Node stranger(5, {2});
  stranger.beacons->SetLinks({Both(stranger)}, kPort, now_);
  b_.beacons->SetLinks({Both(b_)}, kPort, now_);
  RunFor(stranger, 5s);
  Deliver(stranger, b_);
  EXPECT_THAT(b_.heard, IsEmpty());
  EXPECT_THAT(b_.beacons->neighbours(now_), IsEmpty());
}

TEST_F(BeaconsTest, ItsOwnVoiceIsNobodyElses) {
  a_.beacons->SetLinks({Both(a_)}, kPort, now_);
  RunFor(a_, 500ms);
  const auto own = a_.sent;
  for (const auto& one : own) Arrive(a_, one.bytes, one.from);
  EXPECT_THAT(a_.heard, IsEmpty());
}

TEST_F(BeaconsTest, AClockThatWasSetBackDoesNotSilenceANodeThatRuns) {
  a_.beacons->SetLinks({Both(a_)}, kPort, now_);
  b_.beacons->SetLinks({Both(b_)}, kPort, now_);
  RunFor(a_, 500ms);
  Deliver(a_, b_);
  a_.wall = 1;
  RunFor(a_, 5s);
  Deliver(a_, b_);
  EXPECT_GE(b_.heard.size(), 2U);
  EXPECT_EQ(b_.beacons->view().replayed, 0U);
}

TEST_F(BeaconsTest, MemoryIsBoundedAndTheOldestMakesRoom) {
  b_.beacons->SetLinks({Both(b_)}, kPort, now_);
  a_.beacons->SetLinks({Both(a_)}, kPort, now_);
  RunFor(a_, 500ms);
  Deliver(a_, b_);
  for (int i = 0; i < 30; ++i) {
    now_ += 1ms;
    Node other(3);
    other.beacons->SetLinks({Both(other)}, kPort, now_);
    other.beacons->OnTimer(now_ + 1s);
    Deliver(other, b_);
  }
  EXPECT_LE(b_.beacons->neighbours(now_).size(), 20U);
  EXPECT_THAT(b_.beacons->PlacesOf(a_.id(), now_), IsEmpty());
}

}  // namespace
}  // namespace omni
