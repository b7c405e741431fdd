// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/control_filter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "bpf/abi.h"
#include "common/wire.h"

namespace omni {
namespace {

class ControlFilterTest : public ::testing::Test {
 protected:
  ControlFilterTest() { filter_.SetMac1Key(key_); }

  std::vector<uint8_t> Message(uint8_t type, size_t size) const {
    std::vector<uint8_t> out(size, 1);
    out[0] = type;
    if (size > sizeof(wire::Macs)) {
      const size_t covered = size - sizeof(wire::Macs);
      crypto_generichash(out.data() + covered, 16, out.data(), covered, key_.data(), key_.size());
    }
    return out;
  }
  std::optional<DropReason> Check(const std::vector<uint8_t>& m, const char* from = "192.0.2.1") {
    return filter_.Check(m, *IpAddress::Parse(from), now_);
  }

  const std::array<uint8_t, 32> key_ = {1, 2, 3};
  ControlFilter filter_;
  Instant now_ = Instant(std::chrono::hours(1));
};

TEST_F(ControlFilterTest, PassesWholeHandshakeMessagesWithARightMac) {
  EXPECT_FALSE(Check(Message(OMNI_MSG_INITIATION, sizeof(wire::Initiation))));
  EXPECT_FALSE(Check(Message(OMNI_MSG_RESPONSE, sizeof(wire::Response))));
  EXPECT_FALSE(Check(Message(OMNI_MSG_COOKIE, sizeof(wire::CookieReply))));
}

TEST_F(ControlFilterTest, DropsAStrangersMessage) {
  auto message = Message(OMNI_MSG_INITIATION, sizeof(wire::Initiation));
  for (size_t at = 1; at < message.size() - 16; ++at) {
    message[at] ^= 1;
    EXPECT_EQ(Check(message), DropReason::rx_control_mac1) << at;
    message[at] ^= 1;
  }
}

TEST_F(ControlFilterTest, DropsWrongSizesAndKinds) {
  EXPECT_EQ(Check(Message(OMNI_MSG_INITIATION, sizeof(wire::Initiation) - 1)),
            DropReason::rx_truncated);
  EXPECT_EQ(Check(Message(OMNI_MSG_RESPONSE, sizeof(wire::Response) + 1)),
            DropReason::rx_oversized);
  for (int type = 0; type < 256; ++type) {
    if (type >= OMNI_MSG_DATA && type <= OMNI_MSG_COOKIE) continue;
    EXPECT_EQ(Check(Message(static_cast<uint8_t>(type), 100)), DropReason::rx_unknown_type) << type;
  }
}

TEST_F(ControlFilterTest, DropsEverythingBeforeAControllerGaveTheKey) {
  ControlFilter fresh;
  EXPECT_EQ(fresh.Check(Message(OMNI_MSG_COOKIE, sizeof(wire::CookieReply)),
                        *IpAddress::Parse("192.0.2.1"), now_),
            DropReason::rx_control_no_controller);
}

TEST_F(ControlFilterTest, LimitsAPrefixAndNotTheOthers) {
  const auto message = Message(OMNI_MSG_INITIATION, sizeof(wire::Initiation));
  int passed = 0;
  for (int i = 0; i < 1000; ++i)
    passed += Check(message, i % 2 == 0 ? "192.0.2.1" : "192.0.2.99") ? 0 : 1;
  EXPECT_EQ(passed, 200);
  EXPECT_EQ(Check(message), DropReason::rx_control_rate);
  // One of them may share the bucket, by chance; all of them never do.
  int others = 0;
  for (const char* other : {"198.51.100.1", "203.0.113.1", "10.0.0.1", "2001:db8::1", "fd00::1"}) {
    others += Check(message, other) ? 0 : 1;
  }
  EXPECT_GE(others, 3);
  now_ += std::chrono::seconds(1);
  passed = 0;
  for (int i = 0; i < 1000; ++i) passed += Check(message) ? 0 : 1;
  EXPECT_EQ(passed, 50);
}

TEST_F(ControlFilterTest, CookieRepliesFromAnywhereTakeNoPlaceOfHandshakes) {
  // No mac1 protects a cookie reply: a stranger can send it under the address of any peer.
  const auto reply = Message(OMNI_MSG_COOKIE, sizeof(wire::CookieReply));
  int passed = 0;
  for (int i = 0; i < 100'000; ++i) {
    passed += Check(reply, fmt::format("10.{}.{}.1", i / 256 % 256, i % 256).c_str()) ? 0 : 1;
  }
  EXPECT_EQ(passed, 200);
  for (int i = 0; i < 1000; ++i) (void)Check(reply);
  EXPECT_FALSE(Check(Message(OMNI_MSG_INITIATION, sizeof(wire::Initiation))));
}

}  // namespace
}  // namespace omni
