// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/frame.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

using Bytes = std::vector<uint8_t>;

FrameAddresses AddressesOf(bool v4, std::optional<uint16_t> vlan = std::nullopt) {
  return {.to = {2, 0, 0, 0, 0, 2},
          .from = {2, 0, 0, 0, 0, 1},
          .vlan = vlan,
          .remote = *Endpoint::Parse(v4 ? "192.0.2.2:51900" : "[2001:db8::2]:51900"),
          .local = *IpAddress::Parse(v4 ? "192.0.2.1" : "2001:db8::1"),
          .local_port = 40000};
}

Bytes MakeFrame(const FrameAddresses& addresses, std::span<const uint8_t> payload,
                uint8_t traffic_class = 0) {
  const FrameHead head(addresses);
  Bytes out(head.bytes() + payload.size());
  std::ranges::copy(payload, out.begin() + static_cast<ptrdiff_t>(head.bytes()));
  head.Write(std::span(out).subspan(head.bytes()), traffic_class);
  return out;
}

TEST(Frame, IsReadAsItWasWritten) {
  for (const bool v4 : {true, false}) {
    for (const auto vlan : {std::optional<uint16_t>(), std::optional<uint16_t>(42)}) {
      for (const size_t bytes : {0, 1, 31, 32, 100, 1400, 1401}) {
        const FrameAddresses addresses = AddressesOf(v4, vlan);
        const Bytes payload = testing::MakePayload(bytes);
        Bytes frame = MakeFrame(addresses, payload, 0xb9);
        const auto view = ParseFrame(frame, 3);
        ASSERT_TRUE(view) << bytes;
        EXPECT_TRUE(std::ranges::equal(view->payload, payload));
        EXPECT_EQ(view->traffic_class, 0xb9);
        EXPECT_EQ(view->path.remote, (Endpoint{addresses.local, addresses.local_port}));
        EXPECT_EQ(view->path.local, addresses.remote.address);
      }
    }
  }
}

// Against checksums that were summed up another way.
TEST(Frame, HasRightChecksums) {
  for (const bool v4 : {true, false}) {
    for (size_t bytes = 0; bytes < 300; ++bytes) {
      const Bytes frame =
          MakeFrame(AddressesOf(v4), testing::MakePayload(bytes, static_cast<uint8_t>(bytes)), 7);
      EXPECT_TRUE(testing::ChecksumsAreRight(std::span(frame).subspan(14))) << bytes;
    }
  }
}

TEST(Frame, HasNoZeroChecksum) {
  // Some last word makes the sum zero.
  for (const bool v4 : {true, false}) {
    Bytes payload(2);
    for (uint32_t word = 0; word < 65536; ++word) {
      payload = {static_cast<uint8_t>(word >> 8), static_cast<uint8_t>(word)};
      const Bytes frame = MakeFrame(AddressesOf(v4), payload);
      const size_t at = frame.size() - payload.size() - 2;
      ASSERT_FALSE(frame[at] == 0 && frame[at + 1] == 0) << word;
    }
  }
}

TEST(Frame, IsRefusedUnlessWhole) {
  for (const bool v4 : {true, false}) {
    const Bytes whole = MakeFrame(AddressesOf(v4, 5), testing::MakePayload(64));
    for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
      Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(bytes));
      EXPECT_FALSE(ParseFrame(cut, 1)) << bytes;
    }
  }
}

TEST(Frame, IsRefusedWhenItIsNoDatagram) {
  const struct {
    bool v4;
    size_t at;
    uint8_t value;
  } cases[] = {
      {true, 12, 0x86}, {true, 13, 0x06}, {true, 14, 0x44},  {true, 14, 0x65},
      {true, 20, 0x20}, {true, 21, 0x01}, {true, 23, 6},     {true, 22, 63},
      {true, 39, 7},    {true, 38, 0xff}, {false, 14, 0x40}, {false, 18, 0xff},
      {false, 20, 44},  {false, 20, 6},   {false, 20, 58},   {false, 59, 7},
  };
  for (const auto& c : cases) {
    Bytes frame = MakeFrame(AddressesOf(c.v4), testing::MakePayload(64));
    ASSERT_TRUE(ParseFrame(frame, 1));
    frame[c.at] = c.value;
    EXPECT_FALSE(ParseFrame(frame, 1)) << c.v4 << " " << c.at;
  }
}

TEST(Frame, IsReadBehindExtensionHeaders) {
  Bytes frame = MakeFrame(AddressesOf(false), testing::MakePayload(64));
  const Bytes extension = {17, 0, 1, 4, 0, 0, 0, 0};
  frame.insert(frame.begin() + 54, extension.begin(), extension.end());
  frame[20] = 60;
  frame[19] = static_cast<uint8_t>(frame[19] + 8);
  const auto view = ParseFrame(frame, 1);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->payload.size(), 64U);
  frame[55] = 255;
  EXPECT_FALSE(ParseFrame(frame, 1));
}

TEST(Frame, KnowsTheScopeOfALinkLocalSource) {
  FrameAddresses addresses = AddressesOf(false);
  addresses.local = *IpAddress::Parse("fe80::1");
  Bytes frame = MakeFrame(addresses, testing::MakePayload(64));
  EXPECT_EQ(ParseFrame(frame, 9)->path.remote.scope_id, 9U);
}

TEST(Frame, SurvivesRandomBytes) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 50'000; ++i) {
    Bytes frame = MakeFrame(AddressesOf(random() % 2 == 0), testing::MakePayload(random() % 100));
    for (uint64_t changes = random() % 5; changes > 0; --changes) {
      frame[random() % frame.size()] = static_cast<uint8_t>(random());
    }
    frame.resize(random() % (frame.size() + 1));
    const auto view = ParseFrame(frame, 1);
    if (!view || view->payload.empty()) continue;
    EXPECT_GE(view->payload.data(), frame.data());
    EXPECT_LE(view->payload.data() + view->payload.size(), frame.data() + frame.size());
  }
}

}  // namespace
}  // namespace omni
