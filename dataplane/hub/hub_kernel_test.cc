// SPDX-License-Identifier: Apache-2.0
// The hub and the in-kernel path: who owns a control channel, what the kernel is told of peers and
// sessions, and that what it saw counts like what workers saw.
#include <gtest/gtest.h>

#include <set>

#include "dataplane/hub/test_hub.h"

namespace omni::testing {
namespace {

// Remembers what it was told; tests say what it saw.
class FakeKernel final : public KernelControl {
 public:
  std::optional<KernelSlot> AddReceive(const ReceiveChannel& channel) override {
    if (full) return std::nullopt;
    receiving[++last] = channel.id;
    return last;
  }
  std::optional<KernelSlot> AddSend(PeerIndex, const SendChannel& channel, Instant) override {
    if (full) return std::nullopt;
    sending[++last] = channel.id;
    return last;
  }
  KernelTraffic RemoveReceive(KernelSlot slot) override {
    receiving.erase(slot);
    return received[slot];
  }
  void RemoveSend(KernelSlot slot) override {
    EXPECT_NE(used, slot) << "removed while it is in use";
    sending.erase(slot);
  }
  KernelTraffic Received(KernelSlot slot) const override {
    const auto found = received.find(slot);
    return found == received.end() ? KernelTraffic() : found->second;
  }
  uint64_t Messages(KernelSlot slot) const override {
    const auto found = messages.find(slot);
    return found == messages.end() ? 0 : found->second;
  }
  void AddPeer(PeerIndex peer) override { peers.insert(peer); }
  void RemovePeer(PeerIndex peer) override { peers.erase(peer); }
  void SetPath(PeerIndex, const UdpPath& to) override { path = to; }
  void SetFits(PeerIndex, uint32_t bytes) override { fits = bytes; }
  void SetSendChannel(PeerIndex, std::optional<KernelSlot> slot) override { used = slot; }
  KernelTraffic Sent(PeerIndex) const override { return sent; }
  void SetRoutes(const std::vector<RouteTable::Entry>& all) override { routes = all; }
  void Maintain() override {}
  std::vector<KernelEvent> TakeEvents() override { return std::exchange(events, {}); }
  std::vector<uint64_t> Counters() const override { return {}; }

  bool full = false;
  KernelSlot last = 0;
  std::map<KernelSlot, ChannelId> receiving;
  std::map<KernelSlot, ChannelId> sending;
  std::map<KernelSlot, KernelTraffic> received;
  std::map<KernelSlot, uint64_t> messages;
  std::set<PeerIndex> peers;
  std::optional<KernelSlot> used;
  UdpPath path;
  uint32_t fits = 0;
  KernelTraffic sent;
  std::vector<RouteTable::Entry> routes;
  std::vector<KernelEvent> events;
};

constexpr ChannelId ControlId(uint64_t tag) { return tag << 16 | 0x4000 | OMNI_MSG_DATA; }

class HubKernelTest : public ::testing::Test {
 protected:
  HubKernelTest() : node_(wire_, *Endpoint::Parse("192.0.2.1:1")), hub_(node_.hub) {
    hub_.SetKernel(&kernel_);
    StateChange change{.generation = 1, .node = NodeSpec{.mtu = 1420}};
    change.upsert = {{.id = peer_, .allowed = {*IpPrefix::Parse("10.77.0.2/32")}}};
    EXPECT_TRUE(hub_.ApplyState(change).ok());
  }

  SessionSpec Session(uint8_t n, SessionRole role) const {
    SessionSpec out{.id = {n}, .peer = peer_, .role = role, .endpoint = endpoint_};
    out.receive.push_back({.id = uint64_t{n} << 16 | OMNI_MSG_DATA});
    out.send.push_back({.id = (uint64_t{n} + 100) << 16 | OMNI_MSG_DATA});
    out.control_receive = ChannelSpec{.id = ControlId(n)};
    out.control_send = ChannelSpec{.id = ControlId(n + 100U)};
    out.timers = {.rekey_after = 120s,
                  .reject_after = 180s,
                  .keepalive = 10s,
                  .rekey_on_receive = 165s,
                  .no_reply = 15s};
    return out;
  }
  void Install(uint8_t n, SessionRole role = SessionRole::kInitiator) {
    const absl::Status status = hub_.InstallSession(Session(n, role), now_);
    ASSERT_TRUE(status.ok()) << Message(status);
  }
  std::vector<SessionView> Sessions() { return hub_.GetState(now_).peers[0].sessions; }
  template <typename T>
  size_t Told() {
    return node_.Take<T>().size();
  }

  const NodeId peer_ = *NodeId::FromBytes(std::string(16, 'p'));
  const Endpoint endpoint_ = *Endpoint::Parse("192.0.2.2:2");
  FakeKernel kernel_;
  MemoryWire wire_;
  HubNode node_;
  Hub& hub_;
  Instant now_ = Instant(std::chrono::hours(1));
};

TEST_F(HubKernelTest, TheKernelIsToldOfPeersPathsAndRoutes) {
  EXPECT_EQ(kernel_.peers.size(), 1U);
  EXPECT_EQ(kernel_.routes.size(), 1U);
  Install(1);
  EXPECT_EQ(kernel_.path.remote, endpoint_);
  ASSERT_TRUE(kernel_.used);
  EXPECT_EQ(kernel_.sending[*kernel_.used], ControlId(101));
  EXPECT_EQ(Sessions()[0].receive.back(), ControlId(1));
  StateChange none{.generation = 2, .node = NodeSpec{.mtu = 1420}};
  ASSERT_TRUE(hub_.ApplyState(none).ok());
  EXPECT_TRUE(kernel_.peers.empty());
  EXPECT_TRUE(kernel_.routes.empty());
  EXPECT_TRUE(kernel_.receiving.empty());
  EXPECT_TRUE(kernel_.sending.empty());
}

// The send channel follows the current session; the ones before keep receiving until they end.
TEST_F(HubKernelTest, ARekeyMovesTheSendChannel) {
  Install(1);
  Install(2);
  EXPECT_EQ(kernel_.sending[*kernel_.used], ControlId(102));
  EXPECT_EQ(kernel_.receiving.size(), 2U);
  Install(3);
  EXPECT_EQ(kernel_.sending[*kernel_.used], ControlId(103));
  EXPECT_EQ(kernel_.receiving.size(), 2U);
  ASSERT_TRUE(hub_.RemoveSession(SessionId{3}).ok());
  EXPECT_FALSE(kernel_.used);
}

TEST_F(HubKernelTest, AResponderSendsAfterTheKernelsConfirmation) {
  Install(1, SessionRole::kResponder);
  EXPECT_FALSE(kernel_.used);
  kernel_.events = {KernelConfirmed{.channel = ControlId(1)}};
  hub_.Tick(now_);
  EXPECT_TRUE(kernel_.used);
  EXPECT_EQ(Told<SessionConfirmedEvent>(), 1U);
  kernel_.events = {KernelConfirmed{.channel = ControlId(1)}, KernelConfirmed{.channel = 77}};
  hub_.Tick(now_);
  EXPECT_EQ(Told<SessionConfirmedEvent>(), 0U) << "once, and nothing of a channel that is gone";
}

TEST_F(HubKernelTest, APeerThatTheKernelSawMoveIsFollowed) {
  Install(1);
  const UdpPath moved{.remote = *Endpoint::Parse("192.0.2.77:7"),
                      .local = *IpAddress::Parse("192.0.2.1")};
  kernel_.events = {KernelRoamed{.channel = ControlId(1), .path = moved},
                    KernelRoamed{.channel = ControlId(1), .path = moved}};
  node_.events.clear();
  hub_.Tick(now_);
  EXPECT_EQ(kernel_.path, moved);
  EXPECT_EQ(Told<EndpointChangedEvent>(), 1U);
  EXPECT_EQ(hub_.GetState(now_).peers[0].endpoint, moved.remote);
}

TEST_F(HubKernelTest, WhatTheKernelCarriedCounts) {
  Install(1);
  kernel_.received[kernel_.receiving.begin()->first] = {
      .packets = 5, .bytes = 500, .last = now_, .last_data = now_};
  kernel_.sent = {.packets = 7, .bytes = 700, .last = now_, .last_data = now_};
  kernel_.messages[*kernel_.used] = 7;
  const auto check = [&] {
    const PeerTotals totals = hub_.GetPeerTotals(now_)[0];
    EXPECT_EQ(totals.rx_packets, 5U);
    EXPECT_EQ(totals.rx_bytes, 500U);
    EXPECT_EQ(totals.tx_packets, 7U);
    EXPECT_EQ(totals.last_rx_age, Duration::zero());
  };
  check();
  EXPECT_EQ(Sessions()[0].rx_packets, 5U);
  EXPECT_EQ(Sessions()[0].tx_packets, 7U);
  ASSERT_TRUE(hub_.RemoveSession(SessionId{1}).ok());
  check();  // after the channel ended, too
}

// User space never saw a packet, and yet the session is renewed when it has grown old in use.
TEST_F(HubKernelTest, TrafficInsideTheKernelAsksForARekey) {
  Install(1);
  now_ += 121s;
  hub_.Tick(now_);
  EXPECT_EQ(Told<HandshakeWantedEvent>(), 0U);
  kernel_.sent.last = kernel_.sent.last_data = now_;
  hub_.Tick(now_);
  EXPECT_EQ(Told<HandshakeWantedEvent>(), 1U);
}

TEST_F(HubKernelTest, AUsedUpControlChannelAsksForARekey) {
  Install(1);
  hub_.Tick(now_);
  EXPECT_EQ(Told<HandshakeWantedEvent>(), 0U);
  kernel_.messages[*kernel_.used] = OMNI_REKEY_AFTER_MESSAGES;
  hub_.Tick(now_);
  EXPECT_EQ(Told<HandshakeWantedEvent>(), 1U);
}

TEST_F(HubKernelTest, AKernelWithoutRoomLeavesTheChannelToAWorker) {
  kernel_.full = true;
  Install(1);
  EXPECT_TRUE(kernel_.receiving.empty());
  EXPECT_FALSE(kernel_.used);
  EXPECT_EQ(Sessions()[0].receive, (std::vector<ChannelId>{1 << 16 | OMNI_MSG_DATA, ControlId(1)}));
}

TEST_F(HubKernelTest, AControlChannelIsOneOfTheSessionsIds) {
  Install(1);
  SessionSpec again = Session(2, SessionRole::kInitiator);
  again.control_receive->id = ControlId(1);
  const absl::Status status = hub_.InstallSession(std::move(again), now_);
  EXPECT_EQ(Message(status), "control_receive: channel id 0000000000014004 is in use");
}

}  // namespace
}  // namespace omni::testing
