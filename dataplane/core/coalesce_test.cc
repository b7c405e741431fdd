// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/coalesce.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

using omni::testing::MakePacket;
using omni::testing::MakePayload;
using omni::testing::PacketSpec;

using Bytes = std::vector<uint8_t>;

// A group as the host's kernel would see it, cut again by the segmenter: what arrives at a
// receiver.
std::vector<Bytes> Expand(const Coalescer& coalescer, const Coalescer::Group& group) {
  Bytes whole(group.first.begin(), group.first.end());
  for (uint32_t item = coalescer.FirstPiece(group); item != Coalescer::kEnd;
       item = coalescer.NextPiece(item)) {
    const auto piece = coalescer.Piece(item);
    whole.insert(whole.end(), piece.begin(), piece.end());
  }
  if (group.packets == 1) return {whole};
  const auto inner = ParseInner(whole);
  EXPECT_TRUE(inner);
  auto made = Segmenter::Make(whole, *inner, group.offload);
  EXPECT_TRUE(std::holds_alternative<Segmenter>(made));
  const Segmenter& segmenter = std::get<Segmenter>(made);
  std::vector<Bytes> out;
  for (size_t i = 0; i < segmenter.count(); ++i) {
    out.emplace_back(segmenter.SegmentBytes(i));
    segmenter.Write(i, out.back().data());
  }
  return out;
}

struct Result {
  std::vector<uint32_t> sizes;  // packets of each group
  std::vector<Bytes> packets;   // after cutting again
};

Result Coalesced(std::vector<Bytes> packets) {
  std::vector<std::span<uint8_t>> views(packets.begin(), packets.end());
  Coalescer coalescer;
  Result out;
  for (const Coalescer::Group& group : coalescer.Coalesce(views, {})) {
    out.sizes.push_back(group.packets);
    for (Bytes& packet : Expand(coalescer, group)) out.packets.push_back(std::move(packet));
  }
  return out;
}

std::vector<Bytes> Stream(PacketSpec spec, const std::vector<size_t>& sizes) {
  std::vector<Bytes> out;
  for (const size_t size : sizes) {
    out.push_back(MakePacket(spec, MakePayload(size, static_cast<uint8_t>(spec.sequence))));
    spec.sequence += static_cast<uint32_t>(size);
    ++spec.ip_id;
  }
  return out;
}

TEST(Coalescer, JoinsAStreamAndTheKernelsCutGivesItBack) {
  for (const uint8_t protocol : {6, 17}) {
    for (const bool v6 : {false, true}) {
      PacketSpec spec{.protocol = protocol};
      if (v6) {
        spec.source = "fd77::1";
        spec.destination = "fd77::2";
      }
      if (protocol == 6) spec.tcp_options.assign(12, 1);
      const auto packets = Stream(spec, {1000, 1000, 1000, 1000, 300});
      const Result result = Coalesced(packets);
      EXPECT_EQ(result.sizes, (std::vector<uint32_t>{5}));
      EXPECT_EQ(result.packets, packets);
    }
  }
}

TEST(Coalescer, AShortPacketIsTheLastOfItsGroup) {
  EXPECT_EQ(Coalesced(Stream({.protocol = 6}, {500, 500, 200, 500, 500})).sizes,
            (std::vector<uint32_t>{3, 2}));
}

TEST(Coalescer, ALongerPacketBeginsAGroup) {
  EXPECT_EQ(Coalesced(Stream({}, {500, 500, 800, 800})).sizes, (std::vector<uint32_t>{2, 2}));
}

TEST(Coalescer, StopsAt64PacketsAndBefore64KiB) {
  EXPECT_EQ(Coalesced(Stream({}, std::vector<size_t>(100, 64))).sizes,
            (std::vector<uint32_t>{64, 36}));
  EXPECT_EQ(Coalesced(Stream({.protocol = 6}, std::vector<size_t>(10, 9000))).sizes,
            (std::vector<uint32_t>{7, 3}));
}

TEST(Coalescer, PushEndsAGroupAndIsKept) {
  auto packets = Stream({.protocol = 6}, {100, 100});
  auto pushed = Stream({.protocol = 6, .sequence = 201, .tcp_flags = 0x18, .ip_id = 102}, {100});
  packets.push_back(pushed[0]);
  packets.push_back(Stream({.protocol = 6, .sequence = 301, .ip_id = 103}, {100})[0]);
  const Result result = Coalesced(packets);
  EXPECT_EQ(result.sizes, (std::vector<uint32_t>{3, 1}));
  EXPECT_EQ(result.packets, packets);
}

TEST(Coalescer, JoinsOnlyWhatDiffersInNothingElse) {
  const PacketSpec first{.protocol = 6};
  const PacketSpec next{.protocol = 6, .sequence = 101, .ip_id = 101};
  const auto with = [&](auto edit) {
    PacketSpec spec = next;
    edit(spec);
    return spec;
  };
  EXPECT_EQ(
      Coalesced({MakePacket(first, MakePayload(100)), MakePacket(next, MakePayload(100))}).sizes,
      (std::vector<uint32_t>{2}));
  for (const PacketSpec& other :
       {with([](auto& s) { s.sequence = 102; }), with([](auto& s) { s.sequence = 1; }),
        with([](auto& s) { s.acknowledgement = 8; }), with([](auto& s) { s.tcp_flags = 0x11; }),
        with([](auto& s) { s.tcp_flags = 0x14; }), with([](auto& s) { s.tcp_flags = 0x12; }),
        with([](auto& s) { s.tcp_flags = 0x50; }), with([](auto& s) { s.traffic_class = 4; }),
        with([](auto& s) { s.source_port = 9; }), with([](auto& s) {
          s.tcp_options = {1, 1, 1, 1};
        }),
        with([](auto& s) { s.destination = "10.77.0.3"; })}) {
    EXPECT_EQ(
        Coalesced({MakePacket(first, MakePayload(100)), MakePacket(other, MakePayload(100))}).sizes,
        (std::vector<uint32_t>{1, 1}));
  }
}

TEST(Coalescer, DoesNotHealAWrongChecksum) {
  for (const uint8_t protocol : {6, 17}) {
    auto packets = Stream({.protocol = protocol}, {100, 100, 100});
    packets[1].back() ^= 1;
    const Result result = Coalesced(packets);
    EXPECT_EQ(result.sizes, (std::vector<uint32_t>{1, 1, 1}));
    EXPECT_EQ(result.packets, packets);
  }
}

TEST(Coalescer, DoesNotHealAWrongHeaderChecksum) {
  auto packets = Stream({}, {100, 100, 100});
  packets[1][10] ^= 1;
  const Result result = Coalesced(packets);
  EXPECT_EQ(result.sizes, (std::vector<uint32_t>{1, 1, 1}));
  EXPECT_EQ(result.packets, packets);
}

TEST(Coalescer, LeavesFragmentsOptionsAndOtherProtocolsAlone) {
  auto fragment = MakePacket({}, MakePayload(100));
  fragment[6] = 0x20;
  const auto icmp = MakePacket({.protocol = 1}, MakePayload(64));
  const auto ack = MakePacket({.protocol = 6}, {});
  for (const auto& packet : {fragment, icmp, ack}) {
    const Result result = Coalesced({packet, packet});
    EXPECT_EQ(result.sizes, (std::vector<uint32_t>{1, 1}));
    EXPECT_EQ(result.packets, (std::vector<Bytes>{packet, packet}));
  }
}

TEST(Coalescer, GivesAGroupBackWhenTheHostDoesNotTakeIt) {
  const auto packets = Stream({.protocol = 6}, {700, 700, 50});
  auto copies = packets;
  std::vector<std::span<uint8_t>> views(copies.begin(), copies.end());
  Coalescer coalescer;
  const auto groups = coalescer.Coalesce(views, {});
  ASSERT_EQ(groups.size(), 1U);
  coalescer.Restore(groups[0]);
  EXPECT_EQ(copies, packets);
}

// The packets of each flow, in order, by ports and addresses.
std::map<Bytes, std::vector<Bytes>> ByFlow(const std::vector<Bytes>& packets) {
  std::map<Bytes, std::vector<Bytes>> out;
  for (const Bytes& packet : packets) {
    const bool v4 = packet[0] >> 4 == 4;
    Bytes key(packet.begin() + (v4 ? 12 : 8), packet.begin() + (v4 ? 24 : 44));
    key.push_back(v4 ? packet[9] : packet[6]);
    out[key].push_back(packet);
  }
  return out;
}

TEST(Coalescer, KeepsEveryPacketAndTheOrderOfEachFlow) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 10'000; ++round) {
    std::vector<PacketSpec> flows(1 + random() % 4);
    for (size_t i = 0; i < flows.size(); ++i) {
      flows[i].source_port = static_cast<uint16_t>(i);
      flows[i].protocol = random() % 2 == 0 ? 6 : 17;
      if (random() % 2 == 0) {
        flows[i].source = "fd77::1";
        flows[i].destination = "fd77::2";
      }
    }
    const size_t usual = 1 + random() % 1400;
    std::vector<Bytes> packets;
    for (size_t i = random() % 40; i > 0; --i) {
      PacketSpec& spec = flows[random() % flows.size()];
      const size_t size = random() % 5 == 0 ? random() % 1400 : usual;
      spec.tcp_flags = random() % 10 == 0 ? static_cast<uint8_t>(random()) : 0x10;
      packets.push_back(MakePacket(spec, MakePayload(size, static_cast<uint8_t>(i))));
      if (random() % 20 != 0) spec.sequence += static_cast<uint32_t>(size);
      ++spec.ip_id;
    }
    const Result result = Coalesced(packets);
    ASSERT_EQ(result.packets.size(), packets.size()) << round;
    ASSERT_EQ(ByFlow(result.packets), ByFlow(packets)) << round;
  }
}

}  // namespace
}  // namespace omni
