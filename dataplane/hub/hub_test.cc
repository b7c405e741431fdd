// SPDX-License-Identifier: Apache-2.0
// The hub with two nodes' workers on in-memory ports: sessions, timers, desired state and events,
// on a fake clock.
#include "dataplane/hub/hub.h"

#include <gtest/gtest.h>

#include "dataplane/hub/test_hub.h"

namespace omni::testing {
namespace {

using HubTest = TestHub;

TEST_F(HubTest, TheEchoOfTheInitiatorConfirmsTheResponder) {
  ASSERT_TRUE(b_.hub.InstallSession(Session(1, SessionRole::kResponder, false), now_).ok());
  EXPECT_EQ(SlotOf(b_, 1), SessionSlot::kNext);
  SendFromB();
  EXPECT_TRUE(wire_.queues[endpoint_a_].empty());  // must not send before it is confirmed
  ASSERT_TRUE(a_.hub.InstallSession(Session(1, SessionRole::kInitiator, true), now_).ok());
  Settle();
  EXPECT_EQ(SlotOf(b_, 1), SessionSlot::kCurrent);
  EXPECT_EQ(b_.Take<SessionConfirmedEvent>().size(), 1U);
  ASSERT_EQ(a_.Take<EchoReplyEvent>().size(), 1U);
  EXPECT_EQ(a_.tun->to_host.size(), 1U);  // what b's host had sent waited
}

TEST_F(HubTest, InstallingTheSameSessionTwiceIsAsOnce) {
  Connect();
  EXPECT_TRUE(a_.hub.InstallSession(Session(1, SessionRole::kInitiator, true), now_).ok());
  EXPECT_EQ(a_.hub.GetState(now_).peers[0].sessions.size(), 1U);
}

TEST_F(HubTest, RefusesAChannelIdThatIsInUse) {
  Connect();
  SessionSpec other = Session(1, SessionRole::kResponder, true);
  other.id = {9};
  EXPECT_EQ(a_.hub.InstallSession(std::move(other), now_).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(HubTest, ARekeyKeepsTheOldSessionReceiving) {
  Connect(1);
  a_.tun->from_host.push_back({MakePacket({}, {}), {}});
  a_.worker->RunOnce(now_);  // sealed under session 1, still on the wire
  const auto late = wire_.queues[endpoint_b_];
  wire_.queues[endpoint_b_].clear();
  Connect(2);
  EXPECT_EQ(SlotOf(a_, 1), SessionSlot::kPrevious);
  EXPECT_EQ(SlotOf(a_, 2), SessionSlot::kCurrent);
  EXPECT_EQ(SlotOf(b_, 2), SessionSlot::kCurrent);
  wire_.queues[endpoint_b_] = late;
  Settle();
  EXPECT_EQ(b_.tun->to_host.size(), 1U);
  Connect(3);
  EXPECT_EQ(SlotOf(a_, 1), std::nullopt);
  EXPECT_EQ(a_.Take<SessionEndedEvent>().at(0).reason, SessionEnd::kReplaced);
}

TEST_F(HubTest, BothSidesOfASimultaneousInitiationPreferTheSameSession) {
  // a initiated 1, b initiated 2; each answered the other.
  ASSERT_TRUE(b_.hub.InstallSession(Session(1, SessionRole::kResponder, false), now_).ok());
  ASSERT_TRUE(a_.hub.InstallSession(Session(2, SessionRole::kResponder, true), now_).ok());
  ASSERT_TRUE(a_.hub.InstallSession(Session(1, SessionRole::kInitiator, true), now_).ok());
  ASSERT_TRUE(b_.hub.InstallSession(Session(2, SessionRole::kInitiator, false), now_).ok());
  Settle();
  EXPECT_EQ(SlotOf(a_, 2), SessionSlot::kCurrent);
  EXPECT_EQ(SlotOf(b_, 2), SessionSlot::kCurrent);
  SendFromA();
  SendFromB();
  EXPECT_EQ(a_.tun->to_host.size(), 1U);
  EXPECT_EQ(b_.tun->to_host.size(), 1U);
}

TEST_F(HubTest, APeerThatRestartedAtOnceIsFollowedWhateverTheIds) {
  Connect(2);  // initiated by a
  Advance(1s);
  ASSERT_TRUE(a_.hub.InstallSession(Session(1, SessionRole::kResponder, true), now_).ok());
  ASSERT_TRUE(b_.hub.InstallSession(Session(1, SessionRole::kInitiator, false), now_).ok());
  Settle();
  EXPECT_EQ(SlotOf(a_, 1), SessionSlot::kCurrent);
  EXPECT_EQ(SlotOf(b_, 1), SessionSlot::kCurrent);
}

TEST_F(HubTest, AsksForAHandshakeWhenPacketsWait) {
  SendFromA();
  const auto wanted = a_.Take<HandshakeWantedEvent>();
  ASSERT_EQ(wanted.size(), 1U);
  EXPECT_EQ(wanted[0].peer, Id(2));
  EXPECT_EQ(wanted[0].reason, HandshakeReason::kNoSession);
}

TEST_F(HubTest, TheInitiatorAsksForARekeyWhenItSendsAfterTheRekeyTime) {
  Connect();
  Advance(121s);
  EXPECT_TRUE(a_.Take<HandshakeWantedEvent>().empty());  // idle: nothing to renew
  SendFromA();
  Advance(200ms);
  EXPECT_EQ(a_.Take<HandshakeWantedEvent>().at(0).reason, HandshakeReason::kRekey);
  EXPECT_TRUE(b_.Take<HandshakeWantedEvent>().empty());
}

TEST_F(HubTest, EitherSideAsksWhenTheInitiatorDidNot) {
  Connect();
  Advance(166s);
  SendFromB();
  Advance(200ms);
  EXPECT_EQ(b_.Take<HandshakeWantedEvent>().at(0).reason, HandshakeReason::kRekey);
}

TEST_F(HubTest, ASessionExpiresAndItsChannelsAreGone) {
  Connect();
  Advance(180s);
  EXPECT_EQ(SlotOf(a_, 1), std::nullopt);
  EXPECT_EQ(a_.Take<SessionEndedEvent>().at(0).reason, SessionEnd::kExpired);
  EXPECT_EQ(b_.Take<SessionEndedEvent>().at(0).reason, SessionEnd::kExpired);
}

TEST_F(HubTest, APassiveKeepaliveIsSentOnceAndNotAnswered) {
  Connect();
  Advance(1s);
  SendFromA();
  Advance(20s);  // the search for the path MTU is over
  const auto sent = [&](HubNode& node) { return node.hub.GetPeerTotals(now_)[0].tx_packets; };
  const uint64_t before_a = sent(a_);
  const uint64_t before_b = sent(b_);
  SendFromA();
  Advance(60s);
  EXPECT_EQ(sent(a_), before_a + 1);  // the packet; no answer to the keepalive
  EXPECT_EQ(sent(b_), before_b + 1);  // the keepalive
}

TEST_F(HubTest, AsksForAHandshakeWhenNothingComesBack) {
  Connect();
  SendFromA();
  Advance(20s);  // the search for the path MTU is over
  a_.tun->from_host.push_back({MakePacket({}, {}), {}});
  a_.worker->RunOnce(now_);
  wire_.queues[endpoint_b_].clear();  // lost
  Advance(14s);
  EXPECT_TRUE(a_.Take<HandshakeWantedEvent>().empty());
  Advance(2s);
  EXPECT_EQ(a_.Take<HandshakeWantedEvent>().at(0).reason, HandshakeReason::kNoReply);
}

TEST_F(HubTest, APersistentKeepaliveKeepsTheWayOpen) {
  StateChange change{.generation = 2, .base_generation = 1};
  change.upsert = {Spec(2, {"10.77.0.2/32"})};
  change.upsert[0].persistent_keepalive = 5s;
  ASSERT_TRUE(a_.hub.ApplyState(change).ok());
  Advance(1s);
  EXPECT_EQ(a_.Take<HandshakeWantedEvent>().at(0).reason, HandshakeReason::kNoSession);
  Connect();
  const uint64_t before = a_.hub.GetPeerTotals(now_)[0].tx_packets;
  Advance(60s);
  EXPECT_NEAR(static_cast<double>(a_.hub.GetPeerTotals(now_)[0].tx_packets - before), 12, 1);
}

TEST_F(HubTest, PushingAStateAgainDoesNotUndoRoaming) {
  Connect();
  const Endpoint elsewhere = *Endpoint::Parse("198.51.100.1:5");
  b_.tun->from_host.push_back(
      {MakePacket({.source = "10.77.0.2", .destination = "10.77.0.1"}, {}), {}});
  b_.worker->RunOnce(now_);
  wire_.queues[endpoint_a_].front().from = elsewhere;
  Settle();
  a_.hub.Tick(now_);
  EXPECT_EQ(a_.Take<EndpointChangedEvent>().back().endpoint, elsewhere);
  StateChange change{.generation = 7, .node = Node("10.77.0.1/24")};
  change.upsert = {Spec(2, {"10.77.0.2/32"})};
  change.upsert[0].endpoint = endpoint_b_;
  ASSERT_TRUE(a_.hub.ApplyState(change).ok());
  EXPECT_EQ(a_.hub.GetState(now_).peers[0].endpoint, elsewhere);
  EXPECT_EQ(SlotOf(a_, 1), SessionSlot::kCurrent);
}

TEST_F(HubTest, APeerThatMovesWithEveryPacketIsToldOfOnceATick) {
  Connect();
  a_.hub.Tick(now_);
  (void)a_.Take<EndpointChangedEvent>();
  for (uint16_t port = 1; port <= 100; ++port) {
    b_.tun->from_host.push_back(
        {MakePacket({.source = "10.77.0.2", .destination = "10.77.0.1"}, {}), {}});
    b_.worker->RunOnce(now_);
    for (auto& datagram : wire_.queues[endpoint_a_]) datagram.from.port = port;
    a_.worker->RunOnce(now_);
  }
  EXPECT_EQ(a_.hub.GetState(now_).peers[0].endpoint->port, 100);
  a_.hub.Tick(now_);
  const auto told = a_.Take<EndpointChangedEvent>();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].endpoint.port, 100);
  a_.hub.Tick(now_);
  EXPECT_TRUE(a_.Take<EndpointChangedEvent>().empty());
}

TEST_F(HubTest, AnInitiationFromElsewhereMovesAPeerOnlyWhenItsSessionIsConfirmed) {
  Connect(1);
  const Endpoint elsewhere = *Endpoint::Parse("198.51.100.1:5");
  SessionSpec replayed = Session(2, SessionRole::kResponder, false);
  replayed.endpoint = elsewhere;
  ASSERT_TRUE(b_.hub.InstallSession(std::move(replayed), now_).ok());
  EXPECT_EQ(b_.hub.GetState(now_).peers[0].endpoint, endpoint_a_);
  SendFromB();
  EXPECT_TRUE(wire_.queues[elsewhere].empty());
  // The real initiator is there: its first packet confirms the session and shows the address.
  ASSERT_TRUE(a_.hub.InstallSession(Session(2, SessionRole::kInitiator, true), now_).ok());
  a_.worker->RunOnce(now_);
  ASSERT_FALSE(wire_.queues[endpoint_b_].empty());
  for (auto& datagram : wire_.queues[endpoint_b_]) datagram.from = elsewhere;
  b_.worker->RunOnce(now_);
  EXPECT_EQ(b_.hub.GetState(now_).peers[0].endpoint, elsewhere);
  EXPECT_EQ(SlotOf(b_, 2), SessionSlot::kCurrent);
}

TEST_F(HubTest, AMoveOfARemovedPeerIsNotItsSuccessors) {
  Connect();
  StateChange change{.generation = 2, .node = Node("10.77.0.1/24")};
  change.upsert = {Spec(3, {"10.77.0.3/32"})};
  change.upsert[0].endpoint = endpoint_b_;
  ASSERT_TRUE(a_.hub.ApplyState(change).ok());
  // What a worker had to tell of peer 2, which had index 0 and the session with handle 1, is heard
  // only now that peer 3 has the index.
  a_.hub.Roamed(0, 0, 1, {.remote = *Endpoint::Parse("198.51.100.1:5")});
  EXPECT_EQ(a_.hub.GetState(now_).peers.at(0).endpoint, endpoint_b_);
}

TEST_F(HubTest, AFullStateRemovesWhoIsNotInIt) {
  Connect();
  StateChange change{.generation = 2, .node = Node("10.77.0.1/24")};
  change.upsert = {Spec(3, {"10.77.0.3/32", "192.168.9.0/24", "0.0.0.0/0"})};
  ASSERT_TRUE(a_.hub.ApplyState(change).ok());
  ASSERT_EQ(a_.hub.GetState(now_).peers.size(), 1U);
  EXPECT_EQ(a_.hub.GetState(now_).peers[0].id, Id(3));
  // On-link and default prefixes get no route of their own.
  EXPECT_EQ(a_.link.state.routes, (std::vector<IpPrefix>{*IpPrefix::Parse("192.168.9.0/24")}));
  SendFromA();
  EXPECT_EQ(a_.worker->drops().value(DropReason::tx_no_route), 0U);  // 0.0.0.0/0 is peer 3
  EXPECT_EQ(a_.Take<HandshakeWantedEvent>().at(0).peer, Id(3));
}

TEST_F(HubTest, RefusesAChangeThatDoesNotFollowAndChangesNothing) {
  StateChange stale{.generation = 0};
  EXPECT_EQ(a_.hub.ApplyState(stale).status().code(), absl::StatusCode::kFailedPrecondition);
  StateChange wrong_base{.generation = 9, .base_generation = 5};
  EXPECT_EQ(a_.hub.ApplyState(wrong_base).status().code(), absl::StatusCode::kFailedPrecondition);
  StateChange taken{.generation = 9, .base_generation = 1};
  taken.upsert = {Spec(3, {"10.77.0.2/32"})};
  EXPECT_EQ(a_.hub.ApplyState(taken).status().code(), absl::StatusCode::kInvalidArgument);
  StateChange bad_link{.generation = 9, .node = Node("10.9.0.1/24")};
  a_.link.error = absl::PermissionDeniedError("add address");
  EXPECT_FALSE(a_.hub.ApplyState(bad_link).ok());
  EXPECT_EQ(a_.hub.GetState(now_).generation, 1U);
  EXPECT_EQ(a_.hub.GetState(now_).peers.size(), 1U);
  EXPECT_EQ(a_.link.state.addresses[0].ToString(), "10.77.0.1/24");
}

TEST_F(HubTest, APrefixMayMoveFromOnePeerToAnotherInOneChange) {
  StateChange change{.generation = 2, .base_generation = 1};
  change.upsert = {Spec(3, {"10.77.0.2/32"})};
  change.remove = {Id(2)};
  EXPECT_TRUE(a_.hub.ApplyState(change).ok());
  SendFromA();
  EXPECT_EQ(a_.Take<HandshakeWantedEvent>().at(0).peer, Id(3));
}

TEST_F(HubTest, WithoutAControllerControlDatagramsAreCountedAndTrafficGoesOn) {
  Connect();
  const uint64_t number = a_.hub.SetSink([](ControllerEvent) { return true; });
  a_.hub.ClearSink(number);
  EXPECT_EQ(a_.hub.PacketIn({}, endpoint_b_), DropReason::rx_control_no_controller);
  a_.hub.SetSink([](ControllerEvent) { return false; });  // its queue is full
  EXPECT_EQ(a_.hub.PacketIn({}, endpoint_b_), DropReason::rx_control_queue);
  SendFromA();
  EXPECT_EQ(b_.tun->to_host.size(), 1U);
}

TEST_F(HubTest, FindsThePathMtuWhenThereIsTrafficAndForgetsItWhenThePeerMoves) {
  const auto mtu = [&] { return a_.hub.GetPeerTotals(now_)[0].path_mtu; };
  wire_.largest = 1400 - 28;
  Connect();
  Advance(10s);
  EXPECT_EQ(mtu().state, PathMtuSearch::State::kBase);  // nobody has sent anything
  SendFromA();
  Advance(10s);
  EXPECT_EQ(mtu().state, PathMtuSearch::State::kComplete);
  EXPECT_EQ(mtu().carries, 1400U);
  EXPECT_EQ(mtu().inner, 1340U);
  const auto packet = MakePacket({}, omni::testing::MakePayload(1340 - 28));
  a_.tun->from_host = {{packet, {}}};
  Settle();
  EXPECT_EQ(b_.tun->to_host.back(), packet);
  // b's next packet comes from elsewhere.
  b_.tun->from_host.push_back(
      {MakePacket({.source = "10.77.0.2", .destination = "10.77.0.1"}, {}), {}});
  b_.worker->RunOnce(now_);
  wire_.queues[endpoint_a_].front().from = *Endpoint::Parse("[2001:db8::5]:5");
  a_.worker->RunOnce(now_);
  EXPECT_EQ(mtu().state, PathMtuSearch::State::kBase);
  EXPECT_EQ(mtu().inner, 1200U);
}

// However many probes were lost: the answers to the next ones are heard.
TEST_F(HubTest, FindsThePathMtuAfterALongOutageAtOnce) {
  Connect();
  wire_.largest = 0;
  for (int second = 0; second < 150; ++second) {
    SendFromA();
    Advance(1s);
  }
  wire_.largest = 1400 - 28;
  SendFromA();
  Advance(10s);
  EXPECT_EQ(a_.hub.GetPeerTotals(now_)[0].path_mtu.state, PathMtuSearch::State::kComplete);
  EXPECT_EQ(a_.hub.GetPeerTotals(now_)[0].path_mtu.carries, 1400U);
}

TEST_F(HubTest, TheTunFollowsTheLargestInterfaceUnlessItsMtuIsSet) {
  StateChange change{.generation = 2, .base_generation = 1, .node = Node("10.77.0.1/24")};
  change.node->mtu = 0;
  ASSERT_TRUE(a_.hub.ApplyState(change).ok());
  EXPECT_EQ(a_.link.state.mtu, 1440U);
  a_.underlay.next = 9000;
  a_.hub.Tick(now_);
  EXPECT_EQ(a_.link.state.mtu, 8940U);
  change = {.generation = 3, .base_generation = 2, .node = Node("10.77.0.1/24")};
  ASSERT_TRUE(a_.hub.ApplyState(change).ok());
  a_.underlay.next = 1500;
  a_.hub.Tick(now_);
  EXPECT_EQ(a_.link.state.mtu, 1420U);
}

TEST_F(HubTest, AnEchoNeedsASessionAndItsTokenComesBack) {
  EXPECT_EQ(a_.hub.SendEcho(Id(2), 5, 0, now_).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(a_.hub.SendEcho(Id(9), 5, 0, now_).code(), absl::StatusCode::kNotFound);
  Connect();
  (void)a_.Take<EchoReplyEvent>();
  EXPECT_TRUE(a_.hub.SendEcho(Id(2), 5, 100, now_).ok());
  Settle();
  const auto replies = a_.Take<EchoReplyEvent>();
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].token, 5U);
}

TEST_F(HubTest, GivesTheInterfaceBackWhatItLostWhenItWasTakenDown) {
  const LinkState before = a_.link.state;
  a_.link.state = {};
  a_.hub.Tick(now_);
  EXPECT_EQ(a_.link.state, LinkState{});
  a_.link.reset = true;
  a_.hub.Tick(now_);
  EXPECT_EQ(a_.link.state, before);
}

TEST_F(HubTest, ANodeThatIsDownHasItsInterfaceDown) {
  EXPECT_TRUE(a_.link.state.up);
  StateChange down{.generation = 50, .base_generation = std::nullopt, .node = NodeSpec{}};
  down.node->mtu = 1420;
  down.node->down = true;
  ASSERT_TRUE(a_.hub.ApplyState(down).ok());
  EXPECT_FALSE(a_.link.state.up);
  EXPECT_TRUE(a_.link.state.addresses.empty());
  StateChange up{.generation = 51, .base_generation = std::nullopt, .node = Node("10.77.0.1/24")};
  ASSERT_TRUE(a_.hub.ApplyState(up).ok());
  EXPECT_TRUE(a_.link.state.up);
  EXPECT_EQ(a_.link.state.addresses.size(), 1U);
}

TEST_F(HubTest, ReplayedInitiationsDoNotHoldBackOurOwnHandshakeForEver) {
  // Each replay installs a session that nobody will confirm.
  for (uint8_t n = 1; n <= 6; ++n) {
    ASSERT_TRUE(a_.hub.InstallSession(Session(n, SessionRole::kResponder, true), now_).ok());
    SendFromA();
    Advance(1500ms);
  }
  EXPECT_EQ(a_.Take<HandshakeWantedEvent>().at(0).reason, HandshakeReason::kNoSession);
}

}  // namespace
}  // namespace omni::testing
