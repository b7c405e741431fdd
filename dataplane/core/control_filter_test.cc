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
  ControlFilterTest() { filter_.SetKeys({.mac1 = key_}); }

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
    // A beacon is unknown as well, where nobody has said how they look.
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

TEST_F(ControlFilterTest, QuicPassesOnlyWithAKeyAndMostlyForItsOwner) {
  const QuicCidKey key = {9};
  std::vector<uint8_t> ours(100, 0);
  ours[0] = 0x40;
  std::ranges::copy(NewQuicCid(key), ours.begin() + 1);
  std::vector<uint8_t> strange = ours;
  strange[20] ^= 1;
  strange[12] ^= 1;
  EXPECT_EQ(Check(ours), DropReason::rx_unknown_type);
  filter_.SetKeys({.mac1 = key_, .quic = key});
  EXPECT_FALSE(Check(ours));
  EXPECT_FALSE(Check(strange));
  ours.resize(1501);
  EXPECT_EQ(Check(ours), DropReason::rx_oversized);
  ours.resize(1200);
  // However many strangers there are, they take nothing of what is ours.
  std::optional<DropReason> last;
  for (int i = 0; i < 1000; ++i) last = Check(strange, i % 2 == 0 ? "192.0.2.1" : "198.51.100.1");
  EXPECT_EQ(last, DropReason::rx_control_rate);
  for (int i = 0; i < 2000; ++i) EXPECT_FALSE(Check(ours));
  for (int i = 0; i < 100; ++i) last = Check(ours);
  EXPECT_EQ(last, DropReason::rx_control_rate);
  EXPECT_FALSE(Check(Message(OMNI_MSG_INITIATION, sizeof(wire::Initiation))));
}

TEST_F(ControlFilterTest, QuicThatBeginsPassesOnlyWithAKnock) {
  const QuicCidKey cid_key = {9};
  const KnockKey knock_key = {5};
  std::vector<uint8_t> initial(1200, 0);
  initial[0] = 0xc3;
  initial[5] = kQuicCidBytes;
  const auto with = [&](const KnockKey& key) {
    auto out = initial;
    const Knock knock = KnockOn(out, key);
    out.insert(out.end(), knock.begin(), knock.end());
    return out;
  };
  filter_.SetKeys({.mac1 = key_, .quic = cid_key});
  EXPECT_EQ(Check(with(knock_key)), DropReason::rx_quic_stranger) << "none is awaited";
  filter_.SetKeys({.mac1 = key_, .quic = cid_key, .beacons = {}, .knocks = {knock_key}});
  EXPECT_FALSE(Check(with(knock_key)));
  EXPECT_EQ(Check(initial), DropReason::rx_quic_stranger);
  EXPECT_EQ(Check(with(KnockKey{6})), DropReason::rx_quic_stranger);
  auto damaged = with(knock_key);
  for (const size_t at : {1U, 6U, 600U, 1199U, 1200U, 1215U}) {
    damaged[at] ^= 1;
    EXPECT_EQ(Check(damaged), DropReason::rx_quic_stranger) << at;
    damaged[at] ^= 1;
  }
  for (size_t size : {1U, 15U, 16U, 17U}) {
    EXPECT_EQ(Check({initial.begin(), initial.begin() + static_cast<ptrdiff_t>(size)}),
              DropReason::rx_quic_stranger);
  }
  // What goes to a connection of ours needs none.
  auto ours = initial;
  std::ranges::copy(NewQuicCid(cid_key), ours.begin() + 6);
  EXPECT_FALSE(Check(ours));
  // Strangers, however many, take nothing of what members may send; and members no more than that.
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(Check(initial), DropReason::rx_quic_stranger);
  int passed = 0;
  for (int i = 0; i < 1000; ++i) passed += Check(with(knock_key)) ? 0 : 1;
  EXPECT_EQ(passed, 63);
  EXPECT_EQ(Check(with(knock_key)), DropReason::rx_control_rate);
  EXPECT_FALSE(Check(ours));
}

std::vector<uint8_t> BeaconUnder(const std::array<uint8_t, 32>& key) {
  std::vector<uint8_t> beacon(sizeof(wire::Beacon), 0);
  beacon[0] = OMNI_MSG_BEACON;
  constexpr size_t kContentAt = offsetof(wire::Beacon, encrypted_content);
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      beacon.data() + kContentAt, nullptr, beacon.data() + kContentAt, sizeof(wire::BeaconContent),
      beacon.data(), offsetof(wire::Beacon, nonce), nullptr,
      beacon.data() + offsetof(wire::Beacon, nonce), key.data());
  return beacon;
}

TEST_F(ControlFilterTest, MembersByTheOtherSecretPassWhileThereAreTwo) {
  using Key = std::array<uint8_t, 32>;
  const QuicCidKey cid_key = {9};
  const auto knocked = [](const KnockKey& key) {
    std::vector<uint8_t> out(1200, 0);
    out[0] = 0xc3;
    const Knock knock = KnockOn(out, key);
    out.insert(out.end(), knock.begin(), knock.end());
    return out;
  };
  filter_.SetKeys({.mac1 = key_,
                   .quic = cid_key,
                   .stun = {},
                   .beacons = {Key{4}, Key{5}},
                   .knocks = {KnockKey{6}, KnockKey{7}}});
  for (const uint8_t fill : {4, 5}) EXPECT_FALSE(Check(BeaconUnder({fill}))) << fill;
  for (const uint8_t fill : {6, 7}) EXPECT_FALSE(Check(knocked({fill}))) << fill;
  EXPECT_EQ(Check(BeaconUnder({6})), DropReason::rx_beacon_stranger);
  EXPECT_EQ(Check(knocked({4})), DropReason::rx_quic_stranger);
  filter_.SetKeys(
      {.mac1 = key_, .quic = cid_key, .stun = {}, .beacons = {Key{5}}, .knocks = {KnockKey{7}}});
  EXPECT_EQ(Check(BeaconUnder({4})), DropReason::rx_beacon_stranger) << "the change is over";
  EXPECT_EQ(Check(knocked({6})), DropReason::rx_quic_stranger);
  EXPECT_FALSE(Check(BeaconUnder({5})));
  EXPECT_FALSE(Check(knocked({7})));
}

TEST_F(ControlFilterTest, BeaconsPassOnlyWhenAMemberMadeThem) {
  const std::array<uint8_t, 32> beacon_key = {4};
  std::vector<uint8_t> beacon = BeaconUnder(beacon_key);
  EXPECT_EQ(Check(beacon), DropReason::rx_unknown_type) << "no key, no beacons";
  filter_.SetKeys({.mac1 = key_, .quic = {}, .stun = {}, .beacons = {beacon_key}});
  EXPECT_FALSE(Check(beacon));
  for (size_t at = 1; at < beacon.size(); ++at) {
    beacon[at] ^= 1;
    EXPECT_EQ(Check(beacon), DropReason::rx_beacon_stranger) << at;
    beacon[at] ^= 1;
  }
  auto other = beacon;
  other.pop_back();
  EXPECT_EQ(Check(other), DropReason::rx_truncated);
  other = beacon;
  other.push_back(0);
  EXPECT_EQ(Check(other), DropReason::rx_oversized);
  other = beacon;
  other.back() ^= 1;
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(Check(other), DropReason::rx_beacon_stranger);
  int passed = 0;
  for (int i = 0; i < 1000; ++i) passed += Check(beacon) ? 0 : 1;
  EXPECT_EQ(passed, 255) << "a replayed one is bounded";
  EXPECT_FALSE(Check(Message(OMNI_MSG_INITIATION, sizeof(wire::Initiation))));
}

TEST_F(ControlFilterTest, OnlyResponsesToOurOwnStunRequestsPass) {
  const StunKey key = {7};
  std::vector<uint8_t> ours(32, 0);
  ours[0] = 0x01;  // Binding, success
  ours[1] = 0x01;
  std::ranges::copy(std::array<uint8_t, 4>{0x21, 0x12, 0xA4, 0x42}, ours.begin() + 4);
  std::ranges::copy(NewStunId(key), ours.begin() + 8);
  EXPECT_EQ(Check(ours), DropReason::rx_unknown_type) << "no key, no STUN";
  filter_.SetKeys({.mac1 = key_, .stun = key});
  EXPECT_FALSE(Check(ours));
  // Whatever of the id is not as we made it.
  for (size_t at = 8; at < 20; ++at) {
    auto strange = ours;
    strange[at] ^= 1;
    EXPECT_EQ(Check(strange), DropReason::rx_stun_stranger) << at;
  }
  auto request = ours;  // ours, reflected
  request[0] = 0x00;
  EXPECT_EQ(Check(request), DropReason::rx_stun_stranger);
  auto cookie = ours;
  cookie[4] ^= 1;
  EXPECT_EQ(Check(cookie), DropReason::rx_unknown_type);
  cookie = ours;
  cookie.resize(19);
  EXPECT_EQ(Check(cookie), DropReason::rx_unknown_type);
  auto huge = ours;
  huge.resize(549);
  EXPECT_EQ(Check(huge), DropReason::rx_oversized);
}

TEST_F(ControlFilterTest, AFloodOfStunTakesNoPlaceOfTheControllersOwn) {
  const StunKey key = {7};
  filter_.SetKeys({.mac1 = key_, .stun = key});
  std::vector<uint8_t> ours(32, 0);
  ours[0] = 0x01;
  ours[1] = 0x01;
  std::ranges::copy(std::array<uint8_t, 4>{0x21, 0x12, 0xA4, 0x42}, ours.begin() + 4);
  auto strange = ours;
  std::ranges::copy(NewStunId(key), ours.begin() + 8);
  for (int i = 0; i < 100'000; ++i) {
    ASSERT_EQ(Check(strange), DropReason::rx_stun_stranger);
  }
  // A replayed response is bounded, and takes only of its kind.
  int passed = 0;
  for (int i = 0; i < 1000; ++i) passed += Check(ours) ? 0 : 1;
  EXPECT_EQ(passed, 64);
  EXPECT_FALSE(Check(Message(OMNI_MSG_INITIATION, sizeof(wire::Initiation))));
}

}  // namespace
}  // namespace omni
