// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/cookies.h"

#include <gtest/gtest.h>

#include "controller/noise/fake_environment.h"

namespace omni::noise {
namespace {

const Instant kStart = Instant(1000s);

class CookiesTest : public ::testing::Test {
 protected:
  // A message whose macs are made with `cookie`.
  std::vector<uint8_t> Message(const std::optional<Mac>& cookie) {
    std::vector<uint8_t> message(sizeof(wire::Response), 0x5a);
    std::fill(message.end() - wire::kMacBytes, message.end(), 0);
    mac1_ = FillMacs(message, Mac1Key(public_), cookie);
    return message;
  }
  std::optional<Mac> CookieFor(const Endpoint& from, Instant now) {
    const auto message = Message(std::nullopt);
    return OpenCookie(issuer_.MakeReply(message, 9, from, now), CookieReplyKey(public_), mac1_);
  }

  FakeEnvironment environment_{1};
  const PublicKey public_ = PublicOf(Key32(std::array<uint8_t, 32>{1}));
  CookieIssuer issuer_{public_, &environment_};
  Mac mac1_{};
  const Endpoint from_ = *Endpoint::Parse("192.0.2.7:51900");
};

TEST_F(CookiesTest, Mac1IsWhatTheDataplaneChecks) {
  auto message = Message(std::nullopt);
  const auto key = Mac1Key(public_);
  EXPECT_TRUE(wire::Mac1IsValid(message, key));
  message[3] ^= 1U;
  EXPECT_FALSE(wire::Mac1IsValid(message, key));
}

TEST_F(CookiesTest, CookieProvesAddressAndPort) {
  const auto cookie = CookieFor(from_, kStart);
  ASSERT_TRUE(cookie);
  const auto message = Message(cookie);
  EXPECT_TRUE(issuer_.Mac2IsValid(message, from_, kStart));
  for (const char* other : {"192.0.2.7:51901", "192.0.2.8:51900", "[2001:db8::7]:51900"}) {
    EXPECT_FALSE(issuer_.Mac2IsValid(message, *Endpoint::Parse(other), kStart)) << other;
  }
  EXPECT_FALSE(issuer_.Mac2IsValid(Message(std::nullopt), from_, kStart));
}

TEST_F(CookiesTest, CookieIsGoodForItsLifetimeAndGoneAfterTwo) {
  const auto cookie = CookieFor(from_, kStart);
  // The secret turned 120 s old; what is asked for later makes it the previous one.
  EXPECT_TRUE(issuer_.Mac2IsValid(Message(cookie), from_, kStart + 119s));
  EXPECT_TRUE(issuer_.Mac2IsValid(Message(cookie), from_, kStart + 121s));
  EXPECT_TRUE(issuer_.Mac2IsValid(Message(cookie), from_, kStart + 240s));
  EXPECT_FALSE(issuer_.Mac2IsValid(Message(cookie), from_, kStart + 242s));
}

TEST_F(CookiesTest, SecretUnusedForLongIsNotHonoured) {
  const auto cookie = CookieFor(from_, kStart);
  EXPECT_FALSE(issuer_.Mac2IsValid(Message(cookie), from_, kStart + 240s));
}

TEST_F(CookiesTest, ReplyOpensOnlyForTheMessageItAnswers) {
  const auto message = Message(std::nullopt);
  const auto reply = issuer_.MakeReply(message, 9, from_, kStart);
  EXPECT_EQ(reply.receiver_index.value(), 9U);
  Mac other = mac1_;
  other[0] ^= 1U;
  EXPECT_FALSE(OpenCookie(reply, CookieReplyKey(public_), other));
  EXPECT_FALSE(OpenCookie(reply, Mac1Key(public_), mac1_));
  auto changed = reply;
  changed.encrypted_cookie[5] ^= 1U;
  EXPECT_FALSE(OpenCookie(changed, CookieReplyKey(public_), mac1_));
}

TEST(LoadLimiter, LetsABurstThroughAndThenItsRate) {
  LoadLimiter limiter;
  int taken = 0;
  while (limiter.Take(kStart)) ++taken;
  EXPECT_EQ(taken, LoadLimiter::kBurst);
  EXPECT_TRUE(limiter.Take(kStart + LoadLimiter::kInterval));
  EXPECT_FALSE(limiter.Take(kStart + LoadLimiter::kInterval));
  taken = 0;
  while (limiter.Take(kStart + 100s)) ++taken;
  EXPECT_EQ(taken, LoadLimiter::kBurst);
}

}  // namespace
}  // namespace omni::noise
