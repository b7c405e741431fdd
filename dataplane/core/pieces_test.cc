// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/pieces.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

using omni::testing::MakePayload;

constexpr PeerIndex kPeer = 3;
constexpr ChannelId kChannel = 0x11223344556604;

std::vector<uint8_t> Piece(const PieceLayout& layout, uint32_t index, uint32_t id,
                           std::span<const uint8_t> packet) {
  std::vector<uint8_t> out(sizeof(omni_inner_piece));
  WritePieceHeader(layout, index, id, out.data());
  const auto part = packet.subspan(size_t{index} * layout.piece, layout.Bytes(index));
  out.insert(out.end(), part.begin(), part.end());
  return out;
}

class ReassemblerTest : public ::testing::Test {
 protected:
  std::optional<Reassembler::Whole> Add(const std::vector<uint8_t>& piece, uint8_t tc = 0) {
    return reassembler_.Add(kPeer, kChannel, piece, tc, drops_);
  }
  uint64_t malformed() const { return drops_.value(DropReason::rx_inner_malformed); }
  DropCounters drops_;
  Reassembler reassembler_;
};

TEST(PieceLayout, PiecesFitAndAreOfAboutOneSize) {
  for (uint32_t whole : {496U, 1200U, 1220U, 1420U, 8940U}) {
    for (uint32_t total = whole + 1; total <= 65535; total += 97) {
      const PieceLayout layout = PieceLayout::Of(total, whole);
      ASSERT_GE(layout.count(), 2U);
      ASSERT_LE(layout.count(), kMaxPieces);
      ASSERT_LE(layout.piece + sizeof(omni_inner_piece), whole);
      ASSERT_LE(layout.piece - layout.Bytes(layout.count() - 1), layout.count());
    }
  }
}

TEST_F(ReassemblerTest, PutsPiecesTogetherInAnyOrder) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    const auto total = 497 + static_cast<uint32_t>(random() % 65'000);
    const auto packet = MakePayload(total, static_cast<uint8_t>(round));
    const PieceLayout layout = PieceLayout::Of(total, 496);
    std::vector<uint32_t> order(layout.count());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::shuffle(order, random);
    for (size_t i = 0; i + 1 < order.size(); ++i) {
      ASSERT_FALSE(Add(Piece(layout, order[i], 9, packet)));
    }
    const auto whole = Add(Piece(layout, order.back(), 9, packet));
    ASSERT_TRUE(whole);
    ASSERT_TRUE(std::ranges::equal(whole->packet, packet));
    if (reassembler_.is_full()) reassembler_.Release();
  }
  EXPECT_EQ(malformed(), 0U);
  EXPECT_EQ(drops_.value(DropReason::rx_piece), 0U);
}

TEST_F(ReassemblerTest, PacketsOfOtherChannelsAndNumbersAreKeptApart) {
  const auto a = MakePayload(1000, 1);
  const auto b = MakePayload(1000, 2);
  const PieceLayout layout = PieceLayout::Of(1000, 600);
  EXPECT_FALSE(Add(Piece(layout, 0, 1, a)));
  EXPECT_FALSE(Add(Piece(layout, 1, 2, b)));
  EXPECT_FALSE(reassembler_.Add(kPeer, kChannel + (1 << 8), Piece(layout, 1, 1, b), 0, drops_));
  EXPECT_TRUE(std::ranges::equal(Add(Piece(layout, 1, 1, a))->packet, a));
  EXPECT_TRUE(std::ranges::equal(Add(Piece(layout, 0, 2, b))->packet, b));
}

TEST_F(ReassemblerTest, CongestionOfAnyPieceIsTheWholes) {
  const auto packet = MakePayload(1000);
  const PieceLayout layout = PieceLayout::Of(1000, 400);
  EXPECT_FALSE(Add(Piece(layout, 0, 1, packet), 0xb8 | 2));
  EXPECT_FALSE(Add(Piece(layout, 1, 1, packet), 0xb8 | 3));
  EXPECT_EQ(Add(Piece(layout, 2, 1, packet), 0xb8 | 2)->traffic_class, 0xb8 | 3);
}

TEST_F(ReassemblerTest, WhatDoesNotTileThePacketIsRefused) {
  const auto packet = MakePayload(1000);
  const PieceLayout layout = PieceLayout::Of(1000, 400);
  const auto good = Piece(layout, 0, 1, packet);
  std::vector<std::vector<uint8_t>> bad;
  const auto with = [&](size_t at, uint8_t value) {
    auto changed = good;
    changed[at] = value;
    bad.push_back(changed);
  };
  bad.push_back({good.begin(), good.end() - 1});
  bad.push_back({good.begin(), good.begin() + 12});
  bad.push_back({good.begin(), good.begin() + 3});
  with(1, 3);  // index beyond the last
  with(1, 2);  // the last, but too long
  with(2, 1);  // piece size
  with(5, 0);  // total below a piece
  with(6, 1);  // reserved
  for (const auto& piece : bad) EXPECT_FALSE(Add(piece));
  EXPECT_EQ(malformed(), bad.size());
  EXPECT_FALSE(Add(good));
  EXPECT_FALSE(Add(good));  // twice
  auto other = PieceLayout{.total = 1001, .piece = layout.piece};
  EXPECT_FALSE(Add(Piece(other, 1, 1, MakePayload(1001))));
  EXPECT_EQ(malformed(), bad.size() + 2);
}

TEST_F(ReassemblerTest, TheOldestIncompletePacketMakesRoomAndIsCounted) {
  const auto packet = MakePayload(1000);
  const PieceLayout layout = PieceLayout::Of(1000, 400);
  for (uint32_t id = 0; id <= Reassembler::kSlots; ++id) {
    EXPECT_FALSE(Add(Piece(layout, 0, id, packet)));
    EXPECT_FALSE(Add(Piece(layout, 1, id, packet)));
  }
  EXPECT_EQ(drops_.value(DropReason::rx_piece), 2U);
  EXPECT_FALSE(Add(Piece(layout, 2, 0, packet)));  // pushed out
  EXPECT_EQ(drops_.value(DropReason::rx_piece), 4U);
  EXPECT_TRUE(Add(Piece(layout, 2, 5, packet)));
}

TEST_F(ReassemblerTest, APeerThatEndsNoPacketDoesNotPushOutThoseOfOthers) {
  const auto packet = MakePayload(1000);
  const PieceLayout layout = PieceLayout::Of(1000, 600);
  // Whichever of its channels they come on.
  const auto flood = [&] {
    for (uint32_t id = 0; id < 100; ++id) {
      const ChannelId channel = kChannel + (uint64_t{id % 16} << 8);
      EXPECT_FALSE(reassembler_.Add(kPeer + 1, channel, Piece(layout, 0, id, packet), 0, drops_));
    }
  };
  for (uint32_t id = 0; id < 4; ++id) EXPECT_FALSE(Add(Piece(layout, 0, id, packet)));
  flood();
  for (uint32_t id = 0; id < 4; ++id) EXPECT_TRUE(Add(Piece(layout, 1, id, packet)));
  reassembler_.Release();
  flood();
  EXPECT_FALSE(Add(Piece(layout, 0, 5, packet)));
  flood();
  EXPECT_TRUE(Add(Piece(layout, 1, 5, packet)));
}

// Random pieces, some valid: never a byte of one packet in another one.
TEST_F(ReassemblerTest, NoByteOfAnEarlierPacketIsDelivered) {
  std::mt19937 random(11);
  for (int i = 0; i < 200'000; ++i) {
    const PieceLayout layout = {.total = 2 + static_cast<uint32_t>(random() % 600),
                                .piece = 1 + static_cast<uint32_t>(random() % 200)};
    if (layout.total <= layout.piece || layout.count() > kMaxPieces) continue;
    const auto id = static_cast<uint32_t>(random() % 40);
    const std::vector<uint8_t> packet(layout.total, static_cast<uint8_t>(id));
    const auto index = static_cast<uint32_t>(random() % layout.count());
    const auto whole = Add(Piece(layout, index, id, packet));
    if (!whole) continue;
    for (const uint8_t byte : whole->packet) ASSERT_EQ(byte, static_cast<uint8_t>(id));
    if (reassembler_.is_full()) reassembler_.Release();
  }
}

}  // namespace
}  // namespace omni
