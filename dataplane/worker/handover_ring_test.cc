// SPDX-License-Identifier: Apache-2.0
#include "dataplane/worker/handover_ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <thread>

#include "dataplane/core/test_packets.h"

namespace omni {
namespace {

using omni::testing::MakePayload;

const UdpPath kPath{.remote = *Endpoint::Parse("192.0.2.1:7")};

TEST(HandoverRing, GivesBackWhatWasPushedInOrder) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  HandoverRing ring;
  std::deque<std::vector<uint8_t>> expected;
  for (int i = 0; i < 10'000; ++i) {
    if (random() % 2 == 0) {
      const auto datagram = MakePayload(random() % 65'000, static_cast<uint8_t>(i));
      if (ring.Push(datagram, kPath, 5)) expected.push_back(datagram);
    } else if (const auto record = ring.Front()) {
      ASSERT_FALSE(expected.empty());
      ASSERT_TRUE(std::ranges::equal(record->bytes, expected.front()));
      EXPECT_EQ(record->path, kPath);
      EXPECT_EQ(record->traffic_class, 5);
      ring.Pop();
      expected.pop_front();
    } else {
      ASSERT_TRUE(expected.empty());
    }
  }
}

TEST(HandoverRing, IsFullInsteadOfOverwriting) {
  HandoverRing ring;
  const auto datagram = MakePayload(1000);
  size_t pushed = 0;
  while (ring.Push(datagram, kPath, 0)) ++pushed;
  EXPECT_GT(pushed, 200U);
  EXPECT_LT(pushed, HandoverRing::kBytes / 1000);
  for (size_t i = 0; i < pushed; ++i) {
    ASSERT_TRUE(ring.Front());
    ring.Pop();
  }
  EXPECT_FALSE(ring.Front());
}

TEST(HandoverRing, CarriesBetweenTwoThreads) {
  HandoverRing ring;
  constexpr uint32_t kCount = 20'000;
  std::thread writer([&] {
    for (uint32_t i = 0; i < kCount; ++i) {
      const auto datagram = MakePayload(i % 700, static_cast<uint8_t>(i));
      while (!ring.Push(datagram, kPath, static_cast<uint8_t>(i))) std::this_thread::yield();
    }
  });
  for (uint32_t i = 0; i < kCount; ++i) {
    std::optional<HandoverRing::Record> record;
    while (!(record = ring.Front())) std::this_thread::yield();
    ASSERT_EQ(record->traffic_class, static_cast<uint8_t>(i));
    ASSERT_TRUE(std::ranges::equal(record->bytes, MakePayload(i % 700, static_cast<uint8_t>(i))));
    ring.Pop();
  }
  writer.join();
}

}  // namespace
}  // namespace omni
