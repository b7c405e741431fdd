// SPDX-License-Identifier: Apache-2.0
// A peer that owns valid keys and means harm: datagrams of every size, merged in every way, and
// authentic packets with malformed content. Each is dropped under its reason or delivered as it
// came, alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <string>

#include "common/byte_order.h"
#include "dataplane/core/coalesce.h"
#include "dataplane/core/test_packets.h"
#include "dataplane/worker/test_node.h"

namespace omni {
namespace {

using omni::testing::ConnectedPair;
using omni::testing::kChannelToB;
using omni::testing::MakePacket;
using omni::testing::MakePayload;
using omni::testing::PacketSpec;
using Bytes = std::vector<uint8_t>;

constexpr PacketSpec kV6 = {.source = "fd77::1", .destination = "fd77::2"};
// LIMIT: what one IPv4 datagram holds.
constexpr size_t kLargestDatagram = 65'507;

// A UDP port that gives what a test puts into it, merged as the test wants.
class GivingPort final : public UdpPort {
 public:
  void Send(std::span<const Train>, DropCounters&) override {}
  size_t Receive(std::span<ReceivedDatagram> out, DropCounters&) override {
    const size_t count = std::min(out.size(), waiting.size());
    std::copy_n(waiting.begin(), count, out.begin());
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
  }
  std::vector<ReceivedDatagram> waiting;
};

Bytes With(Bytes packet, size_t at, uint8_t value) {
  packet.at(at) = value;
  return packet;
}

// An IPv6 packet with these bytes behind its header.
Bytes V6With(uint8_t next_header, const Bytes& rest) {
  Bytes out = MakePacket({.source = "fd77::1", .destination = "fd77::2", .protocol = 59}, rest);
  out[6] = next_header;
  return out;
}

// `count` extension headers of 8 bytes, each followed by the next one of its kind, then by `last`.
Bytes Chain(size_t count, uint8_t kind, uint8_t last) {
  Bytes out;
  for (size_t i = 0; i < count; ++i) {
    out.insert(out.end(), {i + 1 < count ? kind : last, 0, 1, 4, 0, 0, 0, 0});
  }
  return out;
}

// By what is wrong with them.
std::map<std::string, Bytes> MalformedPackets() {
  const Bytes v4 = MakePacket({}, MakePayload(100));
  const Bytes v6 = MakePacket(kV6, MakePayload(100));
  std::map<std::string, Bytes> out = {
      {"v4 one byte", {0x45}},
      {"v4 half a header", Bytes(v4.begin(), v4.begin() + 19)},
      {"v4 cut", Bytes(v4.begin(), v4.end() - 1)},
      {"v4 with a tail", v4},
      {"v4 total length of a header", With(With(v4, 2, 0), 3, 20)},
      {"v4 total length 0", With(With(v4, 2, 0), 3, 0)},
      {"v4 total length 65535", With(With(v4, 2, 0xff), 3, 0xff)},
      {"v4 header of 0", With(v4, 0, 0x40)},
      {"v4 header of 16", With(v4, 0, 0x44)},
      {"v4 header beyond the packet", With(MakePacket({}, MakePayload(8)), 0, 0x4f)},
      {"version 1", With(v4, 0, 0x15)},
      {"version 5", With(v4, 0, 0x55)},
      {"version 15", With(v4, 0, 0xf5)},
      {"v6 one byte", {0x60}},
      {"v6 half a header", Bytes(v6.begin(), v6.begin() + 39)},
      {"v6 cut", Bytes(v6.begin(), v6.end() - 1)},
      {"v6 jumbo", With(With(v6, 4, 0), 5, 0)},
      {"v6 longer than it is", With(v6, 4, 0xff)},
      {"v6 chain of 9", V6With(0, Chain(9, 0, 17))},
      {"v6 chain of 100", V6With(60, Chain(100, 60, 59))},
      {"v6 chain of itself to the end", V6With(43, Chain(175, 43, 43))},
      {"v6 extension header cut", V6With(0, Bytes(4, 0))},
      {"v6 extension header beyond the packet", V6With(60, {17, 255, 0, 0, 0, 0, 0, 0})},
      {"v6 routing header at the end", V6With(43, {})},
      {"v6 fragment header cut", V6With(44, Bytes(7, 0))},
      {"v6 fragment header behind the last byte", V6With(0, Chain(1, 0, 44))},
  };
  out["v4 with a tail"].push_back(0);
  return out;
}

// Well-formed for IP, wrong or unusual further up: the host must see them as they came.
std::map<std::string, Bytes> OddPackets() {
  std::map<std::string, Bytes> out;
  const PacketSpec tcp{.protocol = 6, .sequence = 101, .ip_id = 101};
  const Bytes v4 = MakePacket(tcp, MakePayload(100));
  const Bytes udp = MakePacket({.ip_id = 101}, MakePayload(100));
  const Bytes udp6 = MakePacket(kV6, MakePayload(100));
  const auto finish = [](Bytes packet) {  // the header's checksum made right again
    packet[10] = packet[11] = 0;
    const uint16_t sum = omni::testing::NaiveChecksum(std::span(packet).first(20));
    packet[10] = static_cast<uint8_t>(sum >> 8);
    packet[11] = static_cast<uint8_t>(sum);
    return packet;
  };
  out["IPv4 header checksum"] = With(v4, 10, static_cast<uint8_t>(v4[10] ^ 1));
  out["TCP checksum"] = With(v4, 36, static_cast<uint8_t>(v4[36] ^ 1));
  out["UDP checksum"] = With(udp, 26, static_cast<uint8_t>(udp[26] ^ 1));
  out["UDP6 checksum"] = With(udp6, 46, static_cast<uint8_t>(udp6[46] ^ 1));
  out["no UDP checksum"] = With(With(udp, 26, 0), 27, 0);
  out["UDP too long"] = With(udp, 25, 109);
  out["UDP too short"] = With(udp, 25, 107);
  out["UDP of length 0"] = With(udp, 25, 0);
  out["first fragment"] = finish(With(udp, 6, 0x20));
  out["middle fragment"] = finish(With(With(udp, 6, 0x20), 7, 10));
  out["last fragment"] = finish(With(With(udp, 6, 0), 7, 10));
  out["v6 fragment"] = V6With(44, {17, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4});
  out["v6 atomic fragment"] = V6With(44, {17, 0, 0, 0, 0, 0, 0, 9, 1, 2, 3, 4});
  out["TCP header of 0"] = With(v4, 32, 0x00);
  out["TCP header of 16"] = With(v4, 32, 0x40);
  out["TCP header beyond the packet"] = With(MakePacket({.protocol = 6}, MakePayload(4)), 32, 0xf0);
  out["TCP cut"] = MakePacket({.protocol = 6}, {});
  out["TCP cut"].resize(30);
  out["TCP cut"] = finish(With(out["TCP cut"], 3, 30));
  out["UDP cut"] = finish(With(Bytes(udp.begin(), udp.begin() + 24), 3, 24));
  out["no transport header"] = finish(With(Bytes(udp.begin(), udp.begin() + 20), 3, 20));
  out["v6 without payload"] = V6With(17, {});
  out["v6 with a header in between"] = V6With(60, Chain(8, 60, 17));
  out["v6 without next header"] = V6With(59, {});
  return out;
}

class HostilePeerTest : public ::testing::Test {
 protected:
  static Bytes Seal(std::span<const uint8_t> text) {
    static uint64_t counter = 0;
    static const auto aead = *MakeAead(AeadBackend::kLibsodium);
    Bytes out(OMNI_DATA_OVERHEAD + text.size());
    const Le64 id(kChannelToB);
    const Le64 wire_counter(counter++);
    std::memcpy(out.data(), &id, sizeof(id));
    std::memcpy(out.data() + 8, &wire_counter, sizeof(wire_counter));
    std::ranges::copy(text, out.begin() + OMNI_DATA_OVERHEAD);
    const Key32 key = ConnectedPair::KeyOf(kChannelToB);
    AeadJob job{
        .key = &key, .header = out.data(), .text_bytes = static_cast<uint32_t>(text.size())};
    aead->Seal({&job, 1});
    return out;
  }
  void Deliver(Bytes datagram) {
    pair_.wire.Put(
        {.bytes = std::move(datagram), .from = pair_.endpoint_a, .to = pair_.endpoint_b});
    pair_.b.worker->RunOnce(pair_.now);
  }
  uint64_t Drops(DropReason reason) const { return pair_.b.drops(reason); }
  uint64_t AllDrops() const {
    uint64_t sum = 0;
    for (size_t i = 0; i < kDropReasons; ++i) sum += Drops(static_cast<DropReason>(i));
    return sum;
  }

  ConnectedPair pair_;
};

TEST_F(HostilePeerTest, MalformedContentIsDroppedUnderItsReason) {
  uint64_t expected = 0;
  for (const auto& [what, packet] : MalformedPackets()) {
    Deliver(Seal(packet));
    EXPECT_EQ(Drops(DropReason::rx_inner_malformed), ++expected) << what;
  }
  EXPECT_EQ(AllDrops(), expected);
  EXPECT_TRUE(pair_.b.tun->to_host.empty());
  EXPECT_TRUE(pair_.wire.queues[pair_.endpoint_a].empty()) << "nothing is answered";
}

TEST_F(HostilePeerTest, OddPacketsReachTheHostAsTheyCame) {
  for (const auto& [what, packet] : OddPackets()) {
    Deliver(Seal(packet));
    ASSERT_FALSE(pair_.b.tun->to_host.empty()) << what;
    EXPECT_EQ(pair_.b.tun->to_host.back(), packet) << what;
    pair_.b.tun->to_host.clear();
  }
  EXPECT_EQ(AllDrops(), 0U);
}

TEST_F(HostilePeerTest, NothingOddIsJoined) {
  auto all = OddPackets();
  all.merge(MalformedPackets());
  for (const auto& [what, odd] : all) {
    for (const uint8_t protocol : {6, 17}) {
      const Bytes first = MakePacket({.protocol = protocol}, MakePayload(100));
      const Bytes last =
          MakePacket({.protocol = protocol, .sequence = 201, .ip_id = 102}, MakePayload(100));
      std::vector<Bytes> packets = {first, odd, last};
      std::vector<std::span<uint8_t>> views(packets.begin(), packets.end());
      Coalescer coalescer;
      for (const Coalescer::Group& group : coalescer.Coalesce(views, {})) {
        if (group.first.data() != packets[1].data()) continue;
        EXPECT_EQ(group.packets, 1U) << what;
      }
      EXPECT_EQ(packets[1], odd) << what;
    }
  }
}

TEST_F(HostilePeerTest, DatagramsOfEverySizeAreCounted) {
  // Empty, shorter than a header, and the largest: all under a known channel.
  Deliver({});
  EXPECT_EQ(Drops(DropReason::rx_truncated), 1U);
  const Bytes good = Seal(MakePacket({}, MakePayload(10)));
  for (size_t size = 1; size < OMNI_DATA_OVERHEAD; ++size) {
    Deliver({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)});
  }
  EXPECT_EQ(Drops(DropReason::rx_truncated), OMNI_DATA_OVERHEAD);
  Bytes largest(kLargestDatagram, 0);
  std::ranges::copy(good, largest.begin());
  Deliver(largest);
  EXPECT_EQ(Drops(DropReason::rx_bad_tag), 1U);
  const Bytes packet = MakePacket({}, MakePayload(kLargestDatagram - OMNI_DATA_OVERHEAD - 28));
  Deliver(Seal(packet));
  ASSERT_EQ(pair_.b.tun->to_host.size(), 1U);
  EXPECT_EQ(pair_.b.tun->to_host[0], packet);
  Deliver(Seal(Bytes(kLargestDatagram - OMNI_DATA_OVERHEAD, 0x45)));
  EXPECT_EQ(Drops(DropReason::rx_inner_malformed), 1U);
}

// One worker whose datagrams come merged.
class MergedTest : public HostilePeerTest {
 protected:
  void SetUp() override {
    auto udp = std::make_unique<GivingPort>();
    auto tun = std::make_unique<MemoryTunPort>();
    udp_ = udp.get();
    tun_ = tun.get();
    worker_ = std::make_unique<Worker>(Worker::Parts{.aead = *MakeAead(AeadBackend::kLibsodium),
                                                     .udp = std::move(udp),
                                                     .tun = std::move(tun),
                                                     .reports = &reports_});
    worker_->SetSiblings({worker_.get()});
    auto channel = std::make_shared<ReceiveChannel>();
    channel->key = ConnectedPair::KeyOf(kChannelToB);
    channel->id = kChannelToB;
    channel->reject_at = pair_.now + std::chrono::seconds(180);
    channel->peer = omni::testing::kOther;
    worker_->AddPeer(omni::testing::kOther, std::make_shared<PeerActivity>());
    worker_->SetRoutes(std::make_shared<RouteTable>(
        std::vector<RouteTable::Entry>{{*IpPrefix::Parse("10.77.0.1/32"), omni::testing::kOther}}));
    worker_->AddChannel(std::move(channel));
  }
  // One message of the kernel; how many of its datagrams ended, delivered or counted.
  uint64_t Give(Bytes message, uint32_t segment_bytes) {
    const auto ended = [&] {
      uint64_t sum = tun_->to_host.size();
      for (size_t i = 0; i < kDropReasons; ++i) {
        sum += worker_->drops().value(static_cast<DropReason>(i));
      }
      return sum;
    };
    const uint64_t before = ended();
    udp_->waiting.push_back(
        {.bytes = message, .segment_bytes = segment_bytes, .path = {.remote = pair_.endpoint_a}});
    worker_->RunOnce(pair_.now);
    return ended() - before;
  }
  // `count` sealed datagrams behind each other, and the size of one.
  static std::pair<Bytes, uint32_t> Merged(size_t count) {
    Bytes out;
    for (size_t i = 0; i < count; ++i) {
      const Bytes one = Seal(MakePacket({}, MakePayload(100)));
      out.insert(out.end(), one.begin(), one.end());
    }
    return {out, static_cast<uint32_t>(out.size() / count)};
  }

  omni::testing::RecordedReports reports_;
  GivingPort* udp_ = nullptr;
  MemoryTunPort* tun_ = nullptr;
  std::unique_ptr<Worker> worker_;
};

TEST_F(MergedTest, WhatIsMergedIsTakenApart) {
  const auto [message, size] = Merged(20);
  EXPECT_EQ(Give(message, size), 20U);
  EXPECT_EQ(tun_->to_host.size(), 20U);
}

TEST_F(MergedTest, AShortLastDatagramIsJudgedAlone) {
  for (const size_t cut : {size_t{1}, size_t{100}, size_t{159}}) {
    auto [message, size] = Merged(5);
    message.resize(message.size() - cut);
    EXPECT_EQ(Give(message, size), 5U) << cut;
  }
  EXPECT_EQ(tun_->to_host.size(), 12U);
}

TEST_F(MergedTest, SegmentSizesThatFitNothingEndInCounters) {
  const auto [message, size] = Merged(3);
  EXPECT_EQ(Give(message, 0), 1U);
  EXPECT_EQ(worker_->drops().value(DropReason::rx_truncated), 1U);
  EXPECT_EQ(Give({}, 0), 1U);
  EXPECT_EQ(Give({}, 1200), 1U);
  EXPECT_EQ(Give(message, 1), message.size());
  EXPECT_EQ(Give(message, size - 1), (message.size() + size - 2) / (size - 1));
  EXPECT_EQ(Give(message, 1'000'000), 1U);
  EXPECT_TRUE(tun_->to_host.empty());
}

TEST_F(MergedTest, EveryDatagramOfEveryMessageEndsOnce) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const auto malformed = MalformedPackets();
  for (int round = 0; round < 1000; ++round) {
    Bytes message;
    for (size_t i = 1 + random() % 30; i > 0; --i) {
      const auto& hostile = std::next(malformed.begin(), random() % malformed.size())->second;
      const Bytes text = random() % 2 == 0 ? hostile : MakePacket({}, MakePayload(random() % 1300));
      const Bytes sealed = Seal(text);
      message.insert(message.end(), sealed.begin(), sealed.end());
    }
    message.resize(std::min<size_t>(message.size(), 65'535));
    const auto segment = static_cast<uint32_t>(1 + random() % 1500);
    const uint64_t datagrams = (message.size() + segment - 1) / segment;
    // A datagram of control type goes to the controller, which takes it.
    const size_t packets_in = reports_.packets_in.size();
    const uint64_t ended = Give(message, segment);
    ASSERT_EQ(ended + reports_.packets_in.size() - packets_in, datagrams) << round;
  }
}

}  // namespace
}  // namespace omni
