// SPDX-License-Identifier: Apache-2.0
// The whole packet path of two nodes in memory: everything but the kernel.
#include "dataplane/worker/worker.h"

#include <gtest/gtest.h>

#include <random>

#include "common/byte_order.h"
#include "dataplane/core/test_packets.h"
#include "dataplane/worker/test_node.h"

namespace omni {
namespace {

using omni::testing::ChecksumsAreRight;
using omni::testing::ConnectedPair;
using omni::testing::kChannelToA;
using omni::testing::kChannelToB;
using omni::testing::kOther;
using omni::testing::MakePacket;
using omni::testing::MakePayload;
using omni::testing::PacketSpec;

class WorkerTest : public ::testing::Test {
 protected:
  // a's host sends; gives the sealed datagrams without delivering them.
  std::vector<WireDatagram> Seal(const std::vector<uint8_t>& packet, const Offload& offload = {}) {
    pair_.a.tun->from_host.push_back({packet, offload});
    pair_.a.worker->RunOnce(pair_.now);
    auto& queue = pair_.wire.queues[pair_.endpoint_b];
    std::vector<WireDatagram> out(queue.begin(), queue.end());
    queue.clear();
    return out;
  }
  WireDatagram SealOne() { return Seal(MakePacket({}, MakePayload(50))).at(0); }
  void Deliver(const WireDatagram& datagram) {
    pair_.wire.Put(datagram);
    pair_.b.worker->RunOnce(pair_.now);
  }
  uint64_t Drops(DropReason reason) const { return pair_.b.drops(reason); }
  // Nothing was delivered and nothing was answered.
  void ExpectSilence() {
    EXPECT_TRUE(pair_.b.tun->to_host.empty());
    EXPECT_TRUE(pair_.wire.queues[pair_.endpoint_a].empty());
  }

  ConnectedPair pair_;
};

TEST_F(WorkerTest, CarriesPacketsOfBothFamiliesBothWays) {
  const auto v4 = MakePacket({}, MakePayload(100));
  const auto v6 = MakePacket({.source = "fd77::1", .destination = "fd77::2"}, MakePayload(1));
  const auto back = MakePacket({.source = "10.77.0.2", .destination = "10.77.0.1"}, {});
  pair_.a.tun->from_host = {{v4, {}}, {v6, {}}};
  pair_.b.tun->from_host = {{back, {}}};
  pair_.Settle();
  EXPECT_EQ(pair_.b.tun->to_host, (std::vector<std::vector<uint8_t>>{v4, v6}));
  EXPECT_EQ(pair_.a.tun->to_host, (std::vector<std::vector<uint8_t>>{back}));
}

TEST_F(WorkerTest, CutsASuperPacketIntoOneTrain) {
  const PacketSpec spec{.protocol = 6};
  const Offload offload{.kind = Offload::Kind::kTcp4,
                        .needs_checksum = true,
                        .segment_bytes = 1000,
                        .checksum_start = 20,
                        .checksum_offset = 16};
  pair_.a.tun->from_host = {{MakePacket(spec, MakePayload(10'500)), offload}};
  pair_.Settle();
  ASSERT_EQ(pair_.b.tun->to_host.size(), 11U);
  for (const auto& packet : pair_.b.tun->to_host) EXPECT_TRUE(ChecksumsAreRight(packet));
  EXPECT_EQ(pair_.b.tun->to_host.back().size(), 540U);
}

TEST_F(WorkerTest, OverheadIs32BytesAndTheIdNamesTheReceiver) {
  const auto packet = MakePacket({}, MakePayload(50));
  const WireDatagram sealed = Seal(packet).at(0);
  ASSERT_EQ(sealed.bytes.size(), packet.size() + 32);
  const Le64 id(kChannelToB);
  EXPECT_EQ(std::memcmp(sealed.bytes.data(), &id, 8), 0);
  EXPECT_EQ(std::search(sealed.bytes.begin(), sealed.bytes.end(), packet.begin(), packet.end()),
            sealed.bytes.end());
}

TEST_F(WorkerTest, NeverUsesACounterTwice) {
  std::set<std::vector<uint8_t>> counters;
  for (int i = 0; i < 300; ++i) {
    const WireDatagram sealed = SealOne();
    counters.emplace(sealed.bytes.begin() + 8, sealed.bytes.begin() + 16);
  }
  EXPECT_EQ(counters.size(), 300U);
}

TEST_F(WorkerTest, DropsEveryBitFlipWithoutAnAnswer) {
  const WireDatagram good = SealOne();
  for (size_t bit = 0; bit < good.bytes.size() * 8; ++bit) {
    WireDatagram forged = good;
    forged.bytes[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    Deliver(forged);
  }
  ExpectSilence();
  EXPECT_EQ(Drops(DropReason::rx_unknown_type), 6U);
  EXPECT_EQ(Drops(DropReason::rx_truncated),
            2U);  // seen as handshake messages, and too short for one
  EXPECT_EQ(Drops(DropReason::rx_unknown_channel), 56U);
  // The counter's high bits lead beyond the reject limit only all together: each flip alone breaks
  // the tag.
  EXPECT_EQ(Drops(DropReason::rx_bad_tag), good.bytes.size() * 8 - 64);
  Deliver(good);
  EXPECT_EQ(pair_.b.tun->to_host.size(), 1U);
}

TEST_F(WorkerTest, DropsEveryTruncation) {
  const WireDatagram good = SealOne();
  for (size_t size = 0; size < good.bytes.size(); ++size) {
    WireDatagram cut = good;
    cut.bytes.resize(size);
    Deliver(cut);
  }
  ExpectSilence();
  EXPECT_EQ(Drops(DropReason::rx_truncated), 32U);
  EXPECT_EQ(Drops(DropReason::rx_bad_tag), good.bytes.size() - 32);
}

TEST_F(WorkerTest, DropsAReplayButNotAReordering) {
  const WireDatagram first = SealOne();
  const WireDatagram second = SealOne();
  Deliver(second);
  Deliver(first);
  EXPECT_EQ(pair_.b.tun->to_host.size(), 2U);
  Deliver(first);
  Deliver(second);
  EXPECT_EQ(pair_.b.tun->to_host.size(), 2U);
  EXPECT_EQ(Drops(DropReason::rx_replayed), 2U);
}

TEST_F(WorkerTest, DropsAReflection) {
  WireDatagram reflected = SealOne();
  reflected.to = pair_.endpoint_a;
  pair_.wire.Put(reflected);
  pair_.a.worker->RunOnce(pair_.now);
  EXPECT_EQ(pair_.a.drops(DropReason::rx_unknown_channel), 1U);
  EXPECT_TRUE(pair_.a.tun->to_host.empty());
}

TEST_F(WorkerTest, DropsASpoofedInnerSource) {
  Deliver(Seal(MakePacket({.source = "10.77.0.3"}, {})).at(0));
  Deliver(Seal(MakePacket({.source = "10.77.0.2"}, {})).at(0));
  ExpectSilence();
  EXPECT_EQ(Drops(DropReason::rx_inner_source), 2U);
}

TEST_F(WorkerTest, FollowsThePeerOnAuthenticNewestPacketsOnly) {
  const Endpoint elsewhere = *Endpoint::Parse("198.51.100.9:9");
  WireDatagram old = SealOne();
  WireDatagram moved = SealOne();
  moved.from = elsewhere;
  WireDatagram forged = moved;
  forged.from = *Endpoint::Parse("203.0.113.1:1");
  forged.bytes.back() ^= 1;
  Deliver(forged);
  EXPECT_TRUE(pair_.b.reports.roamed.size() <= 1);
  Deliver(moved);
  ASSERT_FALSE(pair_.b.reports.roamed.empty());
  EXPECT_EQ(pair_.b.reports.roamed.back(), elsewhere);
  const size_t reports = pair_.b.reports.roamed.size();
  old.from = *Endpoint::Parse("203.0.113.2:2");
  Deliver(old);  // authentic but late
  WireDatagram again = moved;
  again.from = old.from;
  Deliver(again);  // a replay
  EXPECT_EQ(pair_.b.reports.roamed.size(), reports);
  pair_.b.tun->from_host = {
      {MakePacket({.source = "10.77.0.2", .destination = "10.77.0.1"}, {}), {}}};
  pair_.b.worker->RunOnce(pair_.now);
  EXPECT_EQ(pair_.wire.queues[elsewhere].size(), 1U);
}

TEST_F(WorkerTest, EndsAtTheRejectTime) {
  const WireDatagram late = SealOne();
  pair_.now += std::chrono::seconds(180);
  Deliver(late);
  EXPECT_EQ(Drops(DropReason::rx_session_expired), 1U);
  pair_.a.tun->from_host = {{MakePacket({}, {}), {}}};
  pair_.a.worker->RunOnce(pair_.now);
  EXPECT_TRUE(pair_.wire.queues[pair_.endpoint_b].empty());
  EXPECT_EQ(pair_.a.reports.handshakes, (std::vector<PeerIndex>{kOther}));
}

TEST_F(WorkerTest, KeepsPacketsForAHandshakeAndSendsThemInOrder) {
  pair_.a.worker->SetSession(kOther, nullptr);
  std::vector<std::vector<uint8_t>> packets;
  for (uint8_t i = 0; i < 100; ++i) {
    packets.push_back(MakePacket({}, MakePayload(10, i)));
    pair_.a.tun->from_host.push_back({packets.back(), {}});
  }
  pair_.a.worker->RunOnce(pair_.now);
  EXPECT_EQ(pair_.a.reports.handshakes.size(), 1U);
  EXPECT_EQ(pair_.a.drops(DropReason::tx_no_session), 100 - WaitingRoom::kPerPeer);
  auto channel = std::make_shared<SendChannel>();
  channel->key = ConnectedPair::KeyOf(kChannelToB);
  channel->id = kChannelToB;
  auto session = std::make_shared<SendSession>();
  session->reject_at = pair_.now + std::chrono::seconds(180);
  session->channels.push_back(channel);
  pair_.a.worker->SetSession(kOther, session);
  pair_.Settle();
  packets.erase(packets.begin(), packets.end() - WaitingRoom::kPerPeer);
  EXPECT_EQ(pair_.b.tun->to_host, packets);
}

TEST_F(WorkerTest, PacketsGoOnWaitingWhenTheNewSessionIsOverAlready) {
  pair_.a.worker->SetSession(kOther, nullptr);
  const auto packet = MakePacket({}, MakePayload(10));
  pair_.a.tun->from_host = {{packet, {}}, {packet, {}}};
  pair_.a.worker->RunOnce(pair_.now);
  const auto session = [&](Instant reject_at) {
    auto channel = std::make_shared<SendChannel>();
    channel->key = ConnectedPair::KeyOf(kChannelToB);
    channel->id = kChannelToB;
    auto out = std::make_shared<SendSession>();
    out->reject_at = reject_at;
    out->channels.push_back(std::move(channel));
    return out;
  };
  pair_.a.worker->SetSession(kOther, session(pair_.now));
  EXPECT_TRUE(pair_.wire.queues[pair_.endpoint_b].empty());
  pair_.a.worker->SetSession(kOther, session(pair_.now + std::chrono::seconds(180)));
  pair_.Settle();
  EXPECT_EQ(pair_.b.tun->to_host.size(), 2U);
}

TEST_F(WorkerTest, PeersThatDoNotAnswerDoNotFillTheWaitingRoomForEver) {
  // Four peers' shares are all of the room.
  constexpr PeerIndex kDead = 4;
  std::vector<RouteTable::Entry> routes = {{*IpPrefix::Parse("10.77.0.2/32"), kOther}};
  for (uint8_t i = 1; i <= kDead; ++i) {
    pair_.a.worker->AddPeer(i, std::make_shared<PeerActivity>());
    const std::string address = "10.77.1." + std::to_string(i);
    routes.push_back({*IpPrefix::Parse(address + "/32"), i});
    const auto packet = MakePacket({.destination = address.c_str()}, {});
    for (size_t n = 0; n < WaitingRoom::kPerPeer; ++n) {
      pair_.a.tun->from_host.push_back({packet, {}});
    }
  }
  pair_.a.worker->SetRoutes(std::make_shared<RouteTable>(routes));
  pair_.a.worker->SetSession(kOther, nullptr);
  pair_.a.worker->RunOnce(pair_.now);
  EXPECT_EQ(pair_.a.drops(DropReason::tx_no_session), 0U);

  const auto send = [&] {
    pair_.a.tun->from_host.push_back({MakePacket({}, MakePayload(10)), {}});
    pair_.a.worker->RunOnce(pair_.now);
    return pair_.a.drops(DropReason::tx_no_session);
  };
  EXPECT_EQ(send(), 1U);  // full of packets that may still be of use
  pair_.now += WaitingRoom::kMaxAge + std::chrono::seconds(1);
  EXPECT_EQ(send(), 1 + kDead * WaitingRoom::kPerPeer);
  auto channel = std::make_shared<SendChannel>();
  channel->key = ConnectedPair::KeyOf(kChannelToB);
  channel->id = kChannelToB;
  auto session = std::make_shared<SendSession>();
  session->reject_at = pair_.now + std::chrono::seconds(100);
  session->channels.push_back(std::move(channel));
  pair_.a.worker->SetSession(kOther, std::move(session));
  pair_.Settle();
  EXPECT_EQ(pair_.b.tun->to_host.size(), 1U);
}

TEST_F(WorkerTest, StopsBeforeACounterCouldRepeat) {
  auto channel = std::make_shared<SendChannel>();
  channel->key = ConnectedPair::KeyOf(kChannelToB);
  channel->id = kChannelToB;
  channel->counter.Set(OMNI_REJECT_AFTER_MESSAGES - 1);
  auto session = std::make_shared<SendSession>();
  session->reject_at = pair_.now + std::chrono::seconds(180);
  session->channels.push_back(channel);
  pair_.a.worker->SetSession(kOther, session);
  for (int i = 0; i < 3; ++i) pair_.a.tun->from_host.push_back({MakePacket({}, {}), {}});
  pair_.Settle();
  EXPECT_EQ(pair_.b.tun->to_host.size(), 1U);
  EXPECT_EQ(pair_.a.drops(DropReason::tx_counter_limit), 2U);
}

TEST_F(WorkerTest, TakesNoCounterBeyondTheLimit) {
  WireDatagram sealed = SealOne();
  const Le64 counter(OMNI_REJECT_AFTER_MESSAGES);
  std::memcpy(sealed.bytes.data() + offsetof(omni_data_header, counter), &counter, sizeof(counter));
  Deliver(sealed);
  EXPECT_EQ(Drops(DropReason::rx_counter_limit), 1U);
  ExpectSilence();
}

TEST_F(WorkerTest, SendsNothingToAPeerWhoseAddressIsNotKnown) {
  pair_.a.worker->SetPath(kOther, {});
  EXPECT_TRUE(Seal(MakePacket({}, {})).empty());
  EXPECT_EQ(pair_.a.drops(DropReason::tx_no_endpoint), 1U);
}

TEST_F(WorkerTest, AnswersAnEchoInsideTheSessionOnly) {
  pair_.a.worker->SendEcho(kOther, 42, 100);
  pair_.Settle();
  EXPECT_EQ(pair_.a.reports.echoes, (std::vector<uint64_t>{42}));
  EXPECT_TRUE(pair_.b.tun->to_host.empty());
  const std::vector<uint8_t> echo(24, 1);  // the same message in the clear
  Deliver({.bytes = echo, .from = pair_.endpoint_a, .to = pair_.endpoint_b});
  ExpectSilence();
}

TEST_F(WorkerTest, AKeepaliveIsAnEmptyPacketThatIsNotDelivered) {
  pair_.a.worker->SendKeepalive(kOther);
  ASSERT_EQ(pair_.wire.queues[pair_.endpoint_b].size(), 1U);
  EXPECT_EQ(pair_.wire.queues[pair_.endpoint_b].front().bytes.size(), 32U);
  pair_.Settle();
  ExpectSilence();
}

TEST_F(WorkerTest, ReportsTheFirstAuthenticPacketOfAnUnconfirmedSession) {
  auto channel = std::make_shared<ReceiveChannel>();
  channel->key = ConnectedPair::KeyOf(kChannelToB);
  channel->id = kChannelToB;
  channel->reject_at = pair_.now + std::chrono::seconds(180);
  channel->peer = kOther;
  channel->session = 77;
  channel->confirmed = false;
  pair_.b.worker->AddChannel(channel);
  WireDatagram forged = SealOne();
  forged.bytes.back() ^= 1;
  Deliver(forged);
  EXPECT_TRUE(pair_.b.reports.confirmed.empty());
  Deliver(SealOne());
  Deliver(SealOne());
  EXPECT_EQ(pair_.b.reports.confirmed, (std::vector<SessionHandle>{77}));
}

TEST_F(WorkerTest, CarriesDscpAndEcnAsRfc6040Says) {
  const auto packet = MakePacket({.traffic_class = 0xb8 | 2}, {});  // EF, ECT(0)
  WireDatagram sealed = Seal(packet).at(0);
  EXPECT_EQ(sealed.traffic_class, 0xb8 | 2);
  sealed.traffic_class = 3;  // congestion on the way, DSCP bleached
  Deliver(sealed);
  ASSERT_EQ(pair_.b.tun->to_host.size(), 1U);
  EXPECT_EQ(pair_.b.tun->to_host[0][1], 0xb8 | 3);
  EXPECT_TRUE(ChecksumsAreRight(pair_.b.tun->to_host[0]));
  WireDatagram not_capable = SealOne();
  not_capable.traffic_class = 3;
  Deliver(not_capable);
  EXPECT_EQ(Drops(DropReason::rx_ecn), 1U);
}

TEST_F(WorkerTest, CountsWhatTheHostSendsToNobodyOrMalformed) {
  pair_.a.tun->from_host = {{MakePacket({.destination = "10.77.0.9"}, {}), {}},
                            {std::vector<uint8_t>(3, 0x45), {}},
                            {{}, {}}};
  pair_.a.worker->RunOnce(pair_.now);
  EXPECT_EQ(pair_.a.drops(DropReason::tx_no_route), 1U);
  EXPECT_EQ(pair_.a.drops(DropReason::tx_inner_malformed), 2U);
}

TEST_F(WorkerTest, DropsAuthenticPacketsWithMalformedContent) {
  const auto send = [&](std::vector<uint8_t> text) {
    // Sealed with the right key, as a hostile peer would.
    auto aead = *MakeAead(AeadBackend::kLibsodium);
    std::vector<uint8_t> datagram(32 + text.size());
    const Le64 id(kChannelToB);
    static uint64_t counter = 1000;
    const Le64 wire_counter(counter++);
    std::memcpy(datagram.data(), &id, 8);
    std::memcpy(datagram.data() + 8, &wire_counter, 8);
    std::copy(text.begin(), text.end(), datagram.begin() + 32);
    const Key32 key = ConnectedPair::KeyOf(kChannelToB);
    AeadJob job{
        .key = &key, .header = datagram.data(), .text_bytes = static_cast<uint32_t>(text.size())};
    aead->Seal({&job, 1});
    Deliver({.bytes = datagram, .from = pair_.endpoint_a, .to = pair_.endpoint_b});
  };
  send({0x45});
  send({1});                          // an echo cut short
  send(std::vector<uint8_t>(24, 9));  // a message type that does not exist
  send(std::vector<uint8_t>(1400, 0xff));
  auto long_header = MakePacket({}, MakePayload(8));
  long_header[0] = 0x4f;
  send(long_header);
  auto wrong_length = MakePacket({}, MakePayload(8));
  wrong_length[3] ^= 1;
  send(wrong_length);
  ExpectSilence();
  EXPECT_EQ(Drops(DropReason::rx_inner_malformed), 6U);
}

TEST_F(WorkerTest, KeepsOrderAndContentUnderRandomTraffic) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  std::vector<std::vector<uint8_t>> sent;
  for (int batch = 0; batch < 300; ++batch) {
    for (size_t i = random() % 60; i > 0; --i) {
      PacketSpec spec{.source_port = static_cast<uint16_t>(random() % 5)};
      if (random() % 3 == 0) {
        spec.source = "fd77::1";
        spec.destination = "fd77::2";
      }
      spec.traffic_class = random() % 4 == 0 ? 0xb8 : 0;
      sent.push_back(
          MakePacket(spec, MakePayload(random() % 1400, static_cast<uint8_t>(random()))));
      pair_.a.tun->from_host.push_back({sent.back(), {}});
    }
    pair_.Settle();
  }
  EXPECT_EQ(pair_.b.tun->to_host, sent);
}

TEST(TwoWorkers, HandOverWhatCameToTheWrongOneAndCountWhatDoesNotFit) {
  MemoryWire wire;
  const Endpoint own = *Endpoint::Parse("192.0.2.2:2");
  omni::testing::RecordedReports reports;
  std::vector<std::unique_ptr<Worker>> workers;
  MemoryTunPort* second_tun = nullptr;
  for (uint32_t i = 0; i < 2; ++i) {
    auto tun = std::make_unique<MemoryTunPort>();
    second_tun = tun.get();
    // Worker 1 listens where nothing arrives.
    const Endpoint at = i == 0 ? own : *Endpoint::Parse("192.0.2.2:3");
    workers.push_back(
        std::make_unique<Worker>(Worker::Parts{.index = i,
                                               .workers = 2,
                                               .aead = *MakeAead(AeadBackend::kLibsodium),
                                               .udp = std::make_unique<MemoryUdpPort>(wire, at),
                                               .tun = std::move(tun),
                                               .reports = &reports}));
  }
  for (auto& worker : workers) worker->SetSiblings({workers[0].get(), workers[1].get()});
  const Instant now = Instant(std::chrono::hours(1));
  constexpr ChannelId kSecond = 0xbbbbbbbbbbbb0104;  // channel number 1: worker 1's
  auto channel = std::make_shared<ReceiveChannel>();
  channel->key = ConnectedPair::KeyOf(kSecond);
  channel->id = kSecond;
  channel->reject_at = now + std::chrono::seconds(180);
  channel->peer = kOther;
  workers[1]->AddPeer(kOther, std::make_shared<PeerActivity>());
  workers[1]->SetRoutes(std::make_shared<RouteTable>(
      std::vector<RouteTable::Entry>{{*IpPrefix::Parse("10.77.0.1/32"), kOther}}));
  workers[1]->AddChannel(channel);
  auto aead = *MakeAead(AeadBackend::kLibsodium);
  const auto packet = MakePacket({}, MakePayload(1300));
  const Key32 key = ConnectedPair::KeyOf(kSecond);
  constexpr uint64_t kCount = 400;
  for (uint64_t i = 0; i < kCount; ++i) {
    std::vector<uint8_t> datagram(32 + packet.size());
    const Le64 id(kSecond);
    const Le64 counter(i);
    std::memcpy(datagram.data(), &id, 8);
    std::memcpy(datagram.data() + 8, &counter, 8);
    std::copy(packet.begin(), packet.end(), datagram.begin() + 32);
    AeadJob job{
        .key = &key, .header = datagram.data(), .text_bytes = static_cast<uint32_t>(packet.size())};
    aead->Seal({&job, 1});
    wire.Put({.bytes = datagram, .from = *Endpoint::Parse("192.0.2.1:1"), .to = own});
  }
  workers[0]->RunOnce(now);  // all into the ring, until it is full
  workers[1]->RunOnce(now);
  const uint64_t full = workers[0]->drops().value(DropReason::rx_handover_full);
  EXPECT_GT(full, 0U);
  EXPECT_EQ(workers[0]->counters().handovers.value(), kCount - full);
  EXPECT_EQ(second_tun->to_host.size(), kCount - full);
  EXPECT_EQ(second_tun->to_host.front(), packet);
}

}  // namespace
}  // namespace omni
