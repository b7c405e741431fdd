// SPDX-License-Identifier: Apache-2.0
// A node between two others: what they may send each other through it, and what nobody may.
#include <gtest/gtest.h>

#include <map>

#include "dataplane/hub/test_hub.h"

namespace omni {
namespace {

using omni::testing::HubNode;
using omni::testing::Id;
using omni::testing::Node;
using omni::testing::Spec;

constexpr ChannelId kOfB = 0xbbbbbbbbbbbb0004;  // what b receives on

std::vector<uint8_t> Data(ChannelId channel, uint64_t counter, size_t size = 1000) {
  std::vector<uint8_t> bytes(size, 0xcc);
  for (size_t i = 0; i < 8; ++i) {
    bytes[i] = static_cast<uint8_t>(channel >> (8 * i));
    bytes[8 + i] = static_cast<uint8_t>(counter >> (8 * i));
  }
  return bytes;
}

class HubRelayTest : public ::testing::Test {
 protected:
  HubRelayTest() {
    StateChange change{.generation = 1, .node = Node("10.77.0.9/24")};
    change.node->relay = RelayLimits{.pair_bytes_per_s = 1'000'000, .total_bytes_per_s = 4'000'000};
    change.upsert = {Spec(1, {"10.77.0.1/32"}), Spec(2, {"10.77.0.2/32"}),
                     Spec(3, {"10.77.0.3/32"})};
    EXPECT_TRUE(hub().ApplyState(change).ok());
    Connect(1, a_);
    Connect(2, b_);
  }
  Hub& hub() { return node_.hub; }

  // A session of the node with a peer that is at `at`.
  void Connect(uint8_t peer, const Endpoint& at) {
    SessionSpec spec{.id = {peer}, .peer = Id(peer), .role = SessionRole::kInitiator};
    spec.receive.push_back({.id = uint64_t{peer} << 32 | 0x10000 | OMNI_MSG_DATA});
    spec.send.push_back({.id = uint64_t{peer} << 32 | 0x20000 | OMNI_MSG_DATA});
    spec.endpoint = at;
    spec.timers = {.rekey_after = 120s,
                   .reject_after = 180s,
                   .keepalive = 10s,
                   .rekey_on_receive = 165s,
                   .no_reply = 15s};
    ASSERT_TRUE(hub().InstallSession(std::move(spec), now_).ok());
    node_.worker->RunOnce(now_);
    wire_.queues.clear();
  }
  absl::Status Open(uint8_t from = 1, uint8_t to = 2, std::vector<ChannelId> channels = {kOfB},
                    Duration lifetime = 200s) {
    return hub().OpenRelay({Id(from), Id(to), std::move(channels), lifetime}, now_);
  }
  // What reaches b of a datagram.
  size_t Send(const std::vector<uint8_t>& bytes, const Endpoint& from) {
    wire_.Put({.bytes = bytes, .from = from, .to = own_});
    node_.worker->RunOnce(now_);
    size_t arrived = 0;
    for (const auto& [to, queue] : wire_.queues) {
      for (const WireDatagram& datagram : queue) {
        EXPECT_EQ(to, b_) << "and nobody else hears anything";
        EXPECT_EQ(datagram.bytes, bytes) << "as it came";
        ++arrived;
      }
    }
    wire_.queues.clear();
    return arrived;
  }
  uint64_t Drops(DropReason reason) const { return node_.worker->drops().value(reason); }

  const Endpoint own_ = *Endpoint::Parse("192.0.2.9:9");
  const Endpoint a_ = *Endpoint::Parse("192.0.2.1:1");
  const Endpoint b_ = *Endpoint::Parse("192.0.2.2:2");
  Instant now_ = Instant(3600s);
  MemoryWire wire_;
  HubNode node_{wire_, own_};
};

TEST_F(HubRelayTest, SendsOnWhatWasOpenedAsItIsAndOnce) {
  EXPECT_EQ(Send(Data(kOfB, 0), a_), 0U);
  EXPECT_EQ(Drops(DropReason::rx_unknown_channel), 1U);
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Send(Data(kOfB, 0), a_), 1U);
  EXPECT_EQ(Send(Data(kOfB, 0), a_), 0U);
  EXPECT_EQ(Drops(DropReason::rx_relay_replayed), 1U);
  EXPECT_EQ(Send(Data(kOfB, 1, 32), a_), 1U) << "a keepalive";
  EXPECT_EQ(Send(Data(kOfB, 2, 31), a_), 0U);
  EXPECT_EQ(Drops(DropReason::rx_truncated), 1U);
  const auto view = hub().GetRelay();
  ASSERT_TRUE(view);
  EXPECT_EQ(view->pairs, 1U);
  EXPECT_EQ(view->channels, 1U);
  EXPECT_EQ(view->packets, 2U);
  EXPECT_EQ(view->bytes, 1032U);
}

TEST_F(HubRelayTest, OnlyFromWhereTheSenderIs) {
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Send(Data(kOfB, 0), *Endpoint::Parse("192.0.2.1:2")), 0U);
  EXPECT_EQ(Send(Data(kOfB, 0), b_), 0U) << "not even the receiver";
  EXPECT_EQ(Drops(DropReason::rx_relay_source), 2U);
  EXPECT_EQ(Send(Data(kOfB, 0), a_), 1U) << "and the counter was not used up by that";
  const Endpoint moved = *Endpoint::Parse("192.0.2.77:1");
  ASSERT_TRUE(hub().MovePeer(Id(1), moved, now_).ok());
  node_.worker->RunOnce(now_);
  wire_.queues.clear();
  EXPECT_EQ(Send(Data(kOfB, 1), a_), 0U);
  EXPECT_EQ(Send(Data(kOfB, 1), moved), 1U);
}

TEST_F(HubRelayTest, APairHasItsQuotaWhichReplaysDoNotSpend) {
  ASSERT_TRUE(Open().ok());
  size_t arrived = Send(Data(kOfB, 0), a_);
  for (int i = 0; i < 1000; ++i) arrived += Send(Data(kOfB, 0), a_);
  EXPECT_EQ(arrived, 1U);
  for (uint64_t counter = 1; counter < 1000; ++counter) arrived += Send(Data(kOfB, counter), a_);
  EXPECT_EQ(arrived, 250U) << "a quarter of a second's";
  EXPECT_EQ(Drops(DropReason::rx_relay_quota), 750U);
  now_ += 1ms;
  EXPECT_EQ(Send(Data(kOfB, 1000), a_), 1U);
  // More of it, at once.
  StateChange change{
      .generation = 2, .base_generation = 1, .node = Node("10.77.0.9/24"), .upsert = {}};
  change.node->relay = RelayLimits{.pair_bytes_per_s = 2'000'000, .total_bytes_per_s = 4'000'000};
  ASSERT_TRUE(hub().ApplyState(change).ok());
  now_ += 1ms;
  EXPECT_EQ(Send(Data(kOfB, 1001), a_) + Send(Data(kOfB, 1002), a_), 2U);
}

TEST_F(HubRelayTest, OpeningAgainProlongsAndForgetsNoCounter) {
  ASSERT_TRUE(Open(1, 2, {kOfB}, 10s).ok());
  EXPECT_EQ(Send(Data(kOfB, 5), a_), 1U);
  ASSERT_TRUE(Open(1, 2, {kOfB}, 20s).ok());
  ASSERT_TRUE(Open(1, 2, {kOfB}, 10s).ok()) << "which shortens nothing";
  EXPECT_EQ(Send(Data(kOfB, 5), a_), 0U);
  now_ += 15s;
  hub().Tick(now_);
  EXPECT_EQ(Send(Data(kOfB, 6), a_), 1U);
  now_ += 6s;
  EXPECT_EQ(Send(Data(kOfB, 7), a_), 0U) << "before the hub has looked";
  hub().Tick(now_);
  EXPECT_EQ(hub().GetRelay()->channels, 0U);
  EXPECT_EQ(Send(Data(kOfB, 8), a_), 0U);
}

TEST_F(HubRelayTest, NobodyElseTakesAChannel) {
  Connect(3, *Endpoint::Parse("192.0.2.3:3"));
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(Open(1, 3).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Open(3, 2).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Open(3, 2, {kOfB + 0x10000, kOfB}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(hub().GetRelay()->channels, 1U) << "all or nothing";
  EXPECT_EQ(Open(3, 2, {uint64_t{1} << 32 | 0x10000 | OMNI_MSG_DATA}).code(),
            absl::StatusCode::kInvalidArgument)
      << "one of the node itself";
}

TEST_F(HubRelayTest, OnlyForPeersThatAreThere) {
  EXPECT_EQ(Open(1, 1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Open(1, 9).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Open(9, 2).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Open(1, 3).code(), absl::StatusCode::kFailedPrecondition) << "it has no session";
  ASSERT_TRUE(Open().ok());
  StateChange change{.generation = 2, .base_generation = 1, .upsert = {}, .remove = {Id(1)}};
  ASSERT_TRUE(hub().ApplyState(change).ok());
  EXPECT_EQ(hub().GetRelay()->channels, 0U);
  EXPECT_EQ(Send(Data(kOfB, 0), a_), 0U) << "revoked, say";
}

TEST_F(HubRelayTest, NothingIsRelayedWhereItIsOff) {
  ASSERT_TRUE(Open().ok());
  StateChange change{
      .generation = 2, .base_generation = 1, .node = Node("10.77.0.9/24"), .upsert = {}};
  ASSERT_TRUE(hub().ApplyState(change).ok());
  EXPECT_EQ(Send(Data(kOfB, 0), a_), 0U);
  EXPECT_EQ(Open().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(hub().GetRelay());
}

TEST_F(HubRelayTest, APairOpensNoMoreThanItsShare) {
  absl::Status status;
  ChannelId next = kOfB;
  while (status.ok()) {
    std::vector<ChannelId> some(64);
    for (ChannelId& id : some) id = next += 0x10000;
    status = Open(1, 2, some);
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(hub().GetRelay()->channels, 512U);
  EXPECT_TRUE(Open(2, 1, {next + 0x20000}).ok());
}

// What XDP has to know to do the same.
TEST_F(HubRelayTest, TellsTheWatchWhatIsOpenAndWhereThePeersAre) {
  class Watch final : public RelayWatch {
   public:
    void SetRelayLimits(const std::optional<RelayLimits>& value) override { limits = value; }
    void RelayOpened(const Opening& opening) override {
      openings.insert_or_assign(opening.id, opening);
    }
    void RelayClosed(ChannelId id) override { EXPECT_EQ(openings.erase(id), 1U); }
    void PeerMoved(PeerIndex peer, const UdpPath& path) override { moved[peer] = path.remote; }
    RelayTraffic Relayed() const override { return {.packets = 1000, .bytes = 50'000}; }
    std::optional<RelayLimits> limits;
    std::map<ChannelId, Opening> openings;
    std::map<PeerIndex, Endpoint> moved;
  };
  Watch watch;
  hub().SetRelayWatch(&watch);
  ASSERT_TRUE(Open(1, 2, {kOfB}, 10s).ok());
  ASSERT_TRUE(Open(2, 1, {kOfB + 0x10000}, 10s).ok());
  const RelayWatch::Opening first = watch.openings.at(kOfB);
  EXPECT_EQ(first.from, *hub().IndexOf(Id(1)));
  EXPECT_EQ(first.to, *hub().IndexOf(Id(2)));
  EXPECT_EQ(first.from_path.remote, a_);
  EXPECT_EQ(first.to_path.remote, b_);
  EXPECT_EQ(first.expires, now_ + 10s);
  EXPECT_NE(first.pair, 0U);
  const uint32_t pair_of_a = watch.openings.at(kOfB + 0x10000).pair;
  EXPECT_NE(first.pair, pair_of_a) << "a quota each way";
  ASSERT_TRUE(Open(1, 2, {kOfB, kOfB + 0x20000}, 20s).ok());
  EXPECT_EQ(watch.openings.at(kOfB).expires, now_ + 20s) << "prolonged";
  EXPECT_EQ(watch.openings.at(kOfB + 0x20000).pair, first.pair);
  const Endpoint elsewhere = *Endpoint::Parse("192.0.2.77:1");
  ASSERT_TRUE(hub().MovePeer(Id(1), elsewhere, now_).ok());
  EXPECT_EQ(watch.moved.at(first.from), elsewhere);
  EXPECT_EQ(hub().GetRelay()->packets, 1000U);
  EXPECT_EQ(hub().GetRelay()->bytes, 50'000U);
  now_ += 11s;
  hub().Tick(now_);
  EXPECT_EQ(watch.openings.size(), 2U) << "one has ended";
  // Whoever comes and goes has the bucket that he had, until it must be full.
  ASSERT_TRUE(Open(2, 1, {kOfB + 0x10000}, 1s).ok());
  EXPECT_EQ(watch.openings.at(kOfB + 0x10000).pair, pair_of_a);
  for (int i = 0; i < 3; ++i) hub().Tick(now_ += 1s);
  ASSERT_TRUE(Open(2, 1, {kOfB + 0x10000}, 1s).ok());
  EXPECT_NE(watch.openings.at(kOfB + 0x10000).pair, pair_of_a);
  StateChange change{
      .generation = 2, .base_generation = 1, .node = Node("10.77.0.9/24"), .upsert = {}};
  change.node->relay = RelayLimits{.pair_bytes_per_s = 7, .total_bytes_per_s = 8};
  ASSERT_TRUE(hub().ApplyState(change).ok());
  EXPECT_EQ(watch.limits, change.node->relay);
  change.generation = 3;
  change.base_generation = 2;
  change.node->relay.reset();
  ASSERT_TRUE(hub().ApplyState(change).ok());
  EXPECT_TRUE(watch.openings.empty());
}

// As the kernel merges them: one message, one train.
TEST_F(HubRelayTest, MergedDatagramsLeaveAsOneTrain) {
  class OneMessage final : public UdpPort {
   public:
    void Send(std::span<const Train> trains, DropCounters&) override {
      sent.insert(sent.end(), trains.begin(), trains.end());
    }
    size_t Receive(std::span<ReceivedDatagram>, DropCounters&) override { return 0; }
    std::vector<Train> sent;
  };
  OneMessage port;
  WorkerTables tables;
  tables.peers.resize(2);
  for (PeerSlot& slot : tables.peers) slot.activity = std::make_shared<PeerActivity>();
  tables.peers[0].path.remote = a_;
  tables.peers[1].path.remote = b_;
  Forwarder forwarder(tables, port);
  auto channel = std::make_shared<RelayedChannel>();
  channel->pair = std::make_shared<RelayQuota>(1'000'000'000);
  forwarder.Open(kOfB, {.from = 0,
                        .to = 1,
                        .expires = now_ + 1s,
                        .total = std::make_shared<RelayQuota>(1'000'000'000),
                        .channel = channel});
  std::vector<uint8_t> merged;
  for (uint64_t counter = 0; counter < 10; ++counter) {
    const auto one = Data(kOfB, counter == 7 ? 2 : counter, counter == 9 ? 500 : 1000);
    merged.insert(merged.end(), one.begin(), one.end());
  }
  const ReceivedDatagram origin{
      .bytes = merged, .segment_bytes = 1000, .traffic_class = 2, .path = {.remote = a_}};
  for (size_t at = 0; at < merged.size(); at += 1000) {
    const size_t bytes = std::min<size_t>(1000, merged.size() - at);
    EXPECT_TRUE(forwarder.Take(std::span(merged).subspan(at, bytes), origin, now_));
  }
  forwarder.Flush();
  ASSERT_EQ(port.sent.size(), 2U) << "the replay in the middle is left out";
  EXPECT_EQ(port.sent[0].segments, 7U);
  EXPECT_EQ(port.sent[1].segments, 2U);
  EXPECT_EQ(port.sent[1].bytes, 1500U);
  EXPECT_EQ(port.sent[1].traffic_class, 2);
}

}  // namespace
}  // namespace omni
