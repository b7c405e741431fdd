// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/reflector.h"

#include <gtest/gtest.h>

#include <set>

#include "signal/stun/answer.h"

namespace omni {
namespace {

using stun::Mapping;

Endpoint At(std::string_view text) { return Endpoint::Parse(text).value(); }

const Endpoint kServer4 = At("198.51.100.1:51900");
const Endpoint kOther4 = At("198.51.100.2:51900");
const Endpoint kServer6 = At("[2001:db8::1]:51900");
const Endpoint kOwn4 = At("10.0.0.2:51900");
const Endpoint kOwn6 = At("[2001:db8::2]:51900");
const Endpoint kOuter = At("203.0.113.7:51900");
constexpr uint16_t kSecondPort = 51901;

// Servers that answer at once, as far as they are up, through a NAT that the test gives.
class ReflectorTest : public ::testing::Test {
 protected:
  ReflectorTest()
      : reflector_({.key = StunKey{5},
                    .send = [this](const Endpoint& to, auto bytes) { OnSent(to, bytes); },
                    .done = [this] { ++rounds_; }}) {
    reflector_.SetOwn({kOwn4, kOwn6}, now_);
  }

  void OnSent(const Endpoint& to, std::span<const uint8_t> bytes) {
    ++sent_;
    asked_.insert(to);
    EXPECT_TRUE(IsStun(bytes));
    if (silent_.contains(to)) return;
    const auto which =
        to.port == kSecondPort ? stun::ServerPort::kSecond : stun::ServerPort::kFirst;
    const Endpoint source = to.address.is_v4() ? nat_(to) : kOwn6;
    const auto answer = stun::AnswerRequest(
        bytes, source, to.address, which,
        {.first = 51900, .second = has_second_port_ ? kSecondPort : uint16_t{0}});
    ASSERT_TRUE(answer);
    answers_.push_back({to, answer->bytes});
  }
  // Lets 20 ms pass for each answer, or as much as the reflector waits.
  void RunUntilDone() {
    const int before = rounds_;
    while (rounds_ == before && (!answers_.empty() || reflector_.NextDeadline())) {
      if (!answers_.empty()) {
        const auto [from, bytes] = answers_.front();
        answers_.erase(answers_.begin());
        now_ += 20ms;
        EXPECT_TRUE(IsStunResponseOf(bytes, StunKey{5})) << "the dataplane would not let it in";
        reflector_.OnDatagram(bytes, from, now_);
      } else {
        now_ = std::max(now_, *reflector_.NextDeadline());
        reflector_.OnTimer(now_);
      }
    }
  }
  Reflection Known(IpFamily family) { return reflector_.view(family).value(); }

  Instant now_ = Instant(1000s);
  std::function<Endpoint(const Endpoint&)> nat_ = [](const Endpoint&) { return kOuter; };
  std::set<Endpoint> silent_;
  bool has_second_port_ = true;
  std::vector<std::pair<Endpoint, std::vector<uint8_t>>> answers_;
  std::set<Endpoint> asked_;
  int sent_ = 0;
  int rounds_ = 0;
  Reflector reflector_;
};

TEST_F(ReflectorTest, AsksNothingWithoutAServer) {
  reflector_.Start(now_);
  EXPECT_EQ(sent_, 0);
  EXPECT_FALSE(reflector_.NextDeadline());
  EXPECT_FALSE(reflector_.view(IpFamily::kV4));
}

TEST_F(ReflectorTest, FindsAnEasyNatWithTheTwoPortsOfOneServer) {
  reflector_.SetServers({kServer4}, now_);
  RunUntilDone();
  EXPECT_EQ(Known(IpFamily::kV4).mapped, kOuter);
  EXPECT_EQ(Known(IpFamily::kV4).mapping, Mapping::kPortIndependent);
  EXPECT_EQ(Known(IpFamily::kV4).rtt, 20ms);
  EXPECT_EQ(sent_, 2);
  EXPECT_FALSE(reflector_.view(IpFamily::kV6)) << "nobody to ask";
}

TEST_F(ReflectorTest, FindsAHardNat) {
  uint16_t port = 40'000;
  nat_ = [&](const Endpoint&) { return Endpoint{kOuter.address, port++}; };
  reflector_.SetServers({kServer4}, now_);
  RunUntilDone();
  EXPECT_EQ(Known(IpFamily::kV4).mapping, Mapping::kAddressAndPortDependent);
  EXPECT_EQ(Known(IpFamily::kV4).mapped->port, 40'000) << "where the first server saw us";
}

TEST_F(ReflectorTest, ComparesServers) {
  reflector_.SetServers({kServer4, kOther4}, now_);
  RunUntilDone();
  EXPECT_EQ(Known(IpFamily::kV4).mapping, Mapping::kEndpointIndependent);
  EXPECT_EQ(sent_, 4);
}

TEST_F(ReflectorTest, SeesThatThereIsNoNatInEachFamily) {
  nat_ = [](const Endpoint&) { return kOwn4; };
  reflector_.SetServers({kServer4, kServer6}, now_);
  RunUntilDone();
  EXPECT_EQ(Known(IpFamily::kV4).mapping, Mapping::kNone);
  EXPECT_EQ(Known(IpFamily::kV6).mapping, Mapping::kNone);
  EXPECT_EQ(Known(IpFamily::kV6).mapped, kOwn6);
}

TEST_F(ReflectorTest, SaysWhoDidNotAnswerAndAsksAgainLater) {
  silent_.insert(kServer6);
  reflector_.SetServers({kServer4, kServer6}, now_);
  const Instant begin = now_;
  RunUntilDone();
  EXPECT_LE(now_ - begin, 3100ms);
  EXPECT_EQ(Known(IpFamily::kV4).mapped, kOuter);
  EXPECT_FALSE(Known(IpFamily::kV6).mapped);
  EXPECT_EQ(Known(IpFamily::kV6).error, "no answer from [2001:db8::1]:51900");
  silent_.clear();
  RunUntilDone();
  EXPECT_EQ(Known(IpFamily::kV6).mapped, kOwn6);
  EXPECT_LE(now_ - begin, 70s);
}

TEST_F(ReflectorTest, ASilentSecondPortLeavesTheMappingUnknown) {
  silent_.insert({kServer4.address, kSecondPort});
  reflector_.SetServers({kServer4}, now_);
  RunUntilDone();
  EXPECT_EQ(Known(IpFamily::kV4).mapped, kOuter);
  EXPECT_EQ(Known(IpFamily::kV4).mapping, Mapping::kUnknown);
}

TEST_F(ReflectorTest, AsksAnewWhenTheNetworkChanges) {
  reflector_.SetServers({kServer4}, now_);
  RunUntilDone();
  reflector_.SetOwn({kOwn4, kOwn6}, now_);
  EXPECT_FALSE(reflector_.is_busy()) << "nothing has changed";
  nat_ = [](const Endpoint&) { return At("203.0.113.99:1"); };
  reflector_.SetOwn({At("192.168.5.5:51900")}, now_);
  EXPECT_TRUE(reflector_.is_busy());
  RunUntilDone();
  EXPECT_EQ(Known(IpFamily::kV4).mapped, At("203.0.113.99:1"));
}

TEST_F(ReflectorTest, IsNotSentWhereverAForgedAnswerSays) {
  has_second_port_ = false;
  reflector_.SetServers({kServer4}, now_);
  auto forged = *stun::Parse(answers_.at(0).second);
  forged.other_address = At("192.0.2.99:53");
  reflector_.OnDatagram(stun::Encode(forged), kServer4, now_);
  EXPECT_EQ(rounds_, 1);
  EXPECT_FALSE(asked_.contains(At("192.0.2.99:53")));
}

TEST_F(ReflectorTest, AServerThatNamesEverNewPortsIsAskedAtOne) {
  has_second_port_ = false;
  reflector_.SetServers({kServer4}, now_);
  for (uint16_t port = 1; port < 50 && !answers_.empty(); ++port) {
    const auto [from, bytes] = answers_.front();
    answers_.erase(answers_.begin());
    auto response = *stun::Parse(bytes);
    response.other_address = Endpoint{kServer4.address, port};
    reflector_.OnDatagram(stun::Encode(response), from, now_);
  }
  EXPECT_EQ(sent_, 2);
  EXPECT_EQ(rounds_, 1);
}

TEST_F(ReflectorTest, AsksNoMoreThanFourServersOfAFamily) {
  std::vector<Endpoint> many;
  for (uint16_t port = 1; port <= 1000; ++port) many.push_back({kServer4.address, port});
  reflector_.SetServers(many, now_);
  EXPECT_EQ(sent_, 4);
}

TEST_F(ReflectorTest, StaysQuietAfterStop) {
  reflector_.SetServers({kServer4}, now_);
  reflector_.Stop();
  EXPECT_FALSE(reflector_.NextDeadline());
  const auto [from, bytes] = answers_.at(0);
  reflector_.OnDatagram(bytes, from, now_);
  EXPECT_EQ(rounds_, 0);
  answers_.clear();
  reflector_.Start(now_);
  RunUntilDone();
  EXPECT_EQ(Known(IpFamily::kV4).mapped, kOuter);
}

}  // namespace
}  // namespace omni
