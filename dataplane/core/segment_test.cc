// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/segment.h"

#include <gtest/gtest.h>

#include <random>

#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

using omni::testing::ChecksumsAreRight;
using omni::testing::MakePacket;
using omni::testing::MakePayload;
using omni::testing::PacketSpec;

Offload OffloadFor(const PacketSpec& spec, uint16_t segment_bytes) {
  const bool v4 = IpAddress::Parse(spec.source)->is_v4();
  Offload out{.needs_checksum = true, .segment_bytes = segment_bytes};
  out.checksum_start = v4 ? 20 : 40;
  out.checksum_offset = spec.protocol == 6 ? 16 : 6;
  out.kind = spec.protocol == 17 ? Offload::Kind::kUdp
             : v4                ? Offload::Kind::kTcp4
                                 : Offload::Kind::kTcp6;
  return out;
}

std::vector<std::vector<uint8_t>> SegmentsOf(std::span<const uint8_t> packet,
                                             const Offload& offload) {
  const auto inner = ParseInner(packet);
  EXPECT_TRUE(inner);
  auto made = Segmenter::Make(packet, *inner, offload);
  std::vector<std::vector<uint8_t>> out;
  if (const auto* segmenter = std::get_if<Segmenter>(&made)) {
    for (size_t i = 0; i < segmenter->count(); ++i) {
      out.emplace_back(segmenter->SegmentBytes(i));
      segmenter->Write(i, out.back().data());
    }
  }
  return out;
}

// What each segment must be, built from scratch.
std::vector<std::vector<uint8_t>> NaiveSegments(PacketSpec spec, std::span<const uint8_t> payload,
                                                size_t segment_bytes) {
  std::vector<std::vector<uint8_t>> out;
  const PacketSpec whole = spec;
  for (size_t at = 0; at < payload.size(); at += segment_bytes) {
    const size_t size = std::min(segment_bytes, payload.size() - at);
    const bool last = at + size == payload.size();
    spec.sequence = whole.sequence + static_cast<uint32_t>(at);
    spec.ip_id = static_cast<uint16_t>(whole.ip_id + out.size());
    spec.tcp_flags = whole.tcp_flags;
    if (!last) spec.tcp_flags &= static_cast<uint8_t>(~0x09);   // FIN, PSH
    if (at > 0) spec.tcp_flags &= static_cast<uint8_t>(~0x80);  // CWR
    out.push_back(MakePacket(spec, payload.subspan(at, size)));
  }
  return out;
}

TEST(Segmenter, AgreesWithSegmentsBuiltFromScratch) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 10'000; ++round) {
    PacketSpec spec;
    if (random() % 2 == 0) {
      spec.source = "fd77::1";
      spec.destination = "fd77::2";
    }
    spec.protocol = random() % 2 == 0 ? 6 : 17;
    spec.traffic_class = static_cast<uint8_t>(random());
    spec.ip_id = static_cast<uint16_t>(random());
    spec.sequence = static_cast<uint32_t>(random());
    spec.tcp_flags = static_cast<uint8_t>(random());
    spec.tcp_options.resize(random() % 11 * 4, 1);
    const auto payload = MakePayload(1 + random() % 6000, static_cast<uint8_t>(random()));
    const auto segment_bytes = static_cast<uint16_t>(1 + random() % 1500);
    const auto packet = MakePacket(spec, payload);
    const auto expected = NaiveSegments(spec, payload, segment_bytes);
    ASSERT_EQ(SegmentsOf(packet, OffloadFor(spec, segment_bytes)), expected) << "round " << round;
  }
}

TEST(Segmenter, CutsMoreSegmentsThanOneMessageHolds) {
  const PacketSpec spec{.protocol = 6};
  const auto payload = MakePayload(60'000);
  const auto segments = SegmentsOf(MakePacket(spec, payload), OffloadFor(spec, 100));
  ASSERT_EQ(segments.size(), 600U);
  for (const auto& segment : segments) EXPECT_TRUE(ChecksumsAreRight(segment));
}

TEST(Segmenter, FinishesAChecksumThatTheKernelLeftOpen) {
  for (const uint8_t protocol : {6, 17}) {
    const PacketSpec spec{.protocol = protocol};
    auto packet = MakePacket(spec, MakePayload(333));
    const auto finished = packet;
    Offload offload = OffloadFor(spec, 0);
    offload.kind = Offload::Kind::kNone;
    // As the kernel leaves it: the sum of the pseudo header, not complemented.
    const uint32_t length = static_cast<uint32_t>(packet.size()) - 20;
    const auto pseudo = static_cast<uint16_t>(~omni::testing::NaiveChecksum(
        {packet.data() + 12, 8}, static_cast<uint32_t>(protocol) + length));
    const size_t field = 20U + offload.checksum_offset;
    packet[field] = static_cast<uint8_t>(pseudo >> 8);
    packet[field + 1] = static_cast<uint8_t>(pseudo);
    EXPECT_EQ(SegmentsOf(packet, offload).at(0), finished);
  }
}

TEST(Segmenter, RefusesAnOffloadThatDoesNotFitThePacket) {
  const auto tcp = MakePacket({.protocol = 6}, MakePayload(100));
  const auto udp = MakePacket({}, MakePayload(100));
  const Offload tcp4 = OffloadFor({.protocol = 6}, 50);
  const Offload udp4 = OffloadFor({}, 50);
  Offload tcp6 = tcp4;
  tcp6.kind = Offload::Kind::kTcp6;
  Offload zero = tcp4;
  zero.segment_bytes = 0;
  Offload outside = tcp4;
  outside.checksum_start = 65535;
  EXPECT_TRUE(SegmentsOf(tcp, udp4).empty());
  EXPECT_TRUE(SegmentsOf(udp, tcp4).empty());
  EXPECT_TRUE(SegmentsOf(tcp, tcp6).empty());
  EXPECT_TRUE(SegmentsOf(tcp, zero).empty());
  EXPECT_TRUE(SegmentsOf(tcp, outside).empty());
  EXPECT_EQ(SegmentsOf(tcp, tcp4).size(), 2U);
}

}  // namespace
}  // namespace omni
