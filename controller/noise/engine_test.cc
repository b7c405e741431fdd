// SPDX-License-Identifier: Apache-2.0
// Two engines, datagrams carried by hand. Networks of many engines are in tests/sim.
#include "controller/noise/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "bpf/abi.h"
#include "common/wire.h"
#include "controller/noise/cookies.h"
#include "controller/noise/ik_psk2.h"
#include "controller/noise/session_keys.h"
#include "controller/noise/test_node.h"

namespace omni::noise {
namespace {

using Node = TestNode;

static_assert(kMessageData == OMNI_MSG_DATA && kMessageInitiation == OMNI_MSG_INITIATION &&
              kMessageResponse == OMNI_MSG_RESPONSE && kMessageCookieReply == OMNI_MSG_COOKIE);
static_assert(kKindL3Bulk == OMNI_CHANNEL_L3_BULK && kChannelKindShift == OMNI_CHANNEL_KIND_SHIFT);

std::vector<FailureReason> Reasons(const Output& out) {
  std::vector<FailureReason> reasons;
  for (const Failure& failure : out.failures) reasons.push_back(failure.reason);
  return reasons;
}

using Only = std::vector<FailureReason>;

void ExpectMatch(const EstablishedSession& a, const EstablishedSession& b) {
  EXPECT_EQ(a.session_id, b.session_id);
  EXPECT_NE(a.role, b.role);
  for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    ASSERT_EQ(from->send.size(), to->receive.size());
    for (size_t i = 0; i < from->send.size(); ++i) {
      EXPECT_EQ(from->send[i].id, to->receive[i].id);
      EXPECT_TRUE(from->send[i].key == to->receive[i].key);
    }
  }
}

class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    EXPECT_TRUE(a_.Know(b_).ok());
    EXPECT_TRUE(b_.Know(a_).ok());
  }
  std::vector<uint8_t> InitiationFromA(Instant now = kStart) {
    auto out = a_.engine.Initiate(b_.id, now);
    EXPECT_EQ(out.datagrams.size(), 1U);
    return out.datagrams.at(0).bytes;
  }
  // Everything up to the response, which is returned.
  std::vector<uint8_t> ResponseFromB(Instant now = kStart) {
    auto out = b_.engine.OnDatagram(InitiationFromA(now), a_.endpoint, now);
    EXPECT_EQ(out.datagrams.size(), 1U);
    return out.datagrams.at(0).bytes;
  }
  void ExhaustLoad(Node& node, Instant now) {
    std::vector<uint8_t> junk(sizeof(wire::Initiation));
    junk[0] = kMessageInitiation;
    FillMacs(junk, node.engine.mac1_key(), std::nullopt);
    for (int i = 0; i < LoadLimiter::kBurst; ++i) {
      EXPECT_EQ(Reasons(node.engine.OnDatagram(junk, stranger_, now)),
                Only{FailureReason::kDecrypt});
    }
  }

  Node a_{1, 3};
  Node b_{2, 2};
  const Endpoint stranger_ = *Endpoint::Parse("198.51.100.66:6666");
};

TEST_F(EngineTest, TwoMessagesMakeOneSessionOnEachSide) {
  auto first = a_.engine.Initiate(b_.id, kStart);
  ASSERT_EQ(first.datagrams.size(), 1U);
  EXPECT_EQ(first.datagrams[0].to, b_.endpoint);
  EXPECT_EQ(first.datagrams[0].bytes.size(), sizeof(wire::Initiation));
  EXPECT_TRUE(a_.engine.IsConnecting(b_.id));

  auto second = b_.engine.OnDatagram(first.datagrams[0].bytes, a_.endpoint, kStart);
  ASSERT_EQ(second.sessions.size(), 1U);
  ASSERT_EQ(second.datagrams.size(), 1U);
  EXPECT_EQ(second.datagrams[0].to, a_.endpoint);
  EXPECT_EQ(second.datagrams[0].bytes.size(), sizeof(wire::Response));
  EXPECT_EQ(second.sessions[0].peer, a_.id);
  EXPECT_EQ(second.sessions[0].role, Role::kResponder);

  auto third = a_.engine.OnDatagram(second.datagrams[0].bytes, b_.endpoint, kStart + 7ms);
  ASSERT_EQ(third.sessions.size(), 1U);
  EXPECT_TRUE(third.datagrams.empty());
  EXPECT_EQ(third.sessions[0].peer, b_.id);
  EXPECT_EQ(third.sessions[0].endpoint, b_.endpoint);
  EXPECT_EQ(third.sessions[0].rtt, Duration(7ms));
  EXPECT_FALSE(a_.engine.IsConnecting(b_.id));
  EXPECT_EQ(a_.engine.NextDeadline(), std::nullopt);
  ExpectMatch(second.sessions[0], third.sessions[0]);
}

TEST_F(EngineTest, ChannelsAreThoseOfTheContract) {
  auto out = b_.engine.OnDatagram(InitiationFromA(), a_.endpoint, kStart);
  const EstablishedSession& session = out.sessions.at(0);
  ASSERT_EQ(session.receive.size(), 3U) << "the larger number of workers";
  std::set<uint64_t> ids;
  std::set<std::vector<uint8_t>> keys;
  for (const auto* channels : {&session.receive, &session.send}) {
    for (size_t i = 0; i < channels->size(); ++i) {
      const SessionChannel& channel = (*channels)[i];
      EXPECT_EQ(channel.id & 0xffU, uint64_t{OMNI_MSG_DATA});
      EXPECT_EQ((channel.id >> 8U) & 0xffU, i);
      EXPECT_EQ(HandshakeEngine::TagOf(channel.id), HandshakeEngine::TagOf(channels->front().id));
      ids.insert(channel.id);
      keys.emplace(channel.key.bytes().begin(), channel.key.bytes().end());
    }
  }
  EXPECT_EQ(ids.size(), 6U);
  EXPECT_EQ(keys.size(), 6U);
}

TEST_F(EngineTest, EverySingleBitFlipIsRefusedWithoutAnAnswer) {
  const auto initiation = InitiationFromA();
  // mac2 is looked at under load only; everything before it is covered by mac1.
  const size_t bits = (initiation.size() - wire::kMacBytes) * 8;
  Instant now = kStart;  // slow enough not to be load
  for (size_t bit = 0; bit < bits; ++bit) {
    auto changed = initiation;
    changed[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    for (const bool with_mac1 : {false, true}) {  // also when the forger can make mac1
      if (with_mac1 && bit / 8 < 8) continue;     // type and index are for the network to change
      if (with_mac1) FillMacs(changed, b_.engine.mac1_key(), std::nullopt);
      if (changed == initiation) continue;
      const auto out = b_.engine.OnDatagram(changed, a_.endpoint, now += 10ms);
      EXPECT_TRUE(out.sessions.empty() && out.datagrams.empty()) << bit;
      EXPECT_EQ(out.failures.size(), 1U);
    }
  }
  auto out = b_.engine.OnDatagram(initiation, a_.endpoint, now);
  ASSERT_EQ(out.datagrams.size(), 1U);

  const auto response = out.datagrams[0].bytes;
  for (size_t bit = 0; bit < (response.size() - wire::kMacBytes) * 8; ++bit) {
    auto changed = response;
    changed[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    for (const bool with_mac1 : {false, true}) {
      if (with_mac1 && bit / 8 < 8) continue;
      if (with_mac1) FillMacs(changed, a_.engine.mac1_key(), std::nullopt);
      if (changed == response) continue;
      const auto refused = a_.engine.OnDatagram(changed, b_.endpoint, now += 10ms);
      EXPECT_TRUE(refused.sessions.empty() && refused.datagrams.empty()) << bit;
    }
  }
  EXPECT_EQ(a_.engine.OnDatagram(response, b_.endpoint, now).sessions.size(), 1U);
}

TEST_F(EngineTest, EveryOtherLengthIsMalformed) {
  const auto initiation = InitiationFromA();
  auto refuse = [&](Node& node, std::span<const uint8_t> bytes) {
    const auto out = node.engine.OnDatagram(bytes, a_.endpoint, kStart);
    EXPECT_EQ(Reasons(out), Only{FailureReason::kMalformed}) << bytes.size();
    EXPECT_TRUE(out.datagrams.empty() && out.sessions.empty());
  };
  for (size_t n = 0; n < initiation.size(); ++n) refuse(b_, std::span(initiation).first(n));
  auto longer = initiation;
  longer.push_back(0);
  refuse(b_, longer);
  const auto response = b_.engine.OnDatagram(initiation, a_.endpoint, kStart).datagrams.at(0).bytes;
  for (size_t n = 0; n < response.size(); ++n) refuse(a_, std::span(response).first(n));
  EXPECT_EQ(a_.engine.OnDatagram(response, b_.endpoint, kStart).sessions.size(), 1U);
}

TEST_F(EngineTest, AReplayIsSilent) {
  const auto initiation = InitiationFromA();
  const auto response = b_.engine.OnDatagram(initiation, a_.endpoint, kStart).datagrams.at(0).bytes;
  const auto again = b_.engine.OnDatagram(initiation, stranger_, kStart + 1s);
  EXPECT_EQ(Reasons(again), Only{FailureReason::kDuplicate});
  EXPECT_EQ(again.failures[0].peer, a_.id);
  EXPECT_TRUE(again.datagrams.empty() && again.sessions.empty());

  EXPECT_EQ(a_.engine.OnDatagram(response, b_.endpoint, kStart).sessions.size(), 1U);
  const auto twice = a_.engine.OnDatagram(response, b_.endpoint, kStart);
  EXPECT_EQ(Reasons(twice), Only{FailureReason::kUnexpected});
  EXPECT_TRUE(twice.sessions.empty());
}

TEST_F(EngineTest, AReflectedMessageIsNotForItsSender) {
  const auto initiation = InitiationFromA();
  EXPECT_EQ(Reasons(a_.engine.OnDatagram(initiation, b_.endpoint, kStart)),
            Only{FailureReason::kMac1});
  const auto response = b_.engine.OnDatagram(initiation, a_.endpoint, kStart).datagrams.at(0).bytes;
  EXPECT_EQ(Reasons(b_.engine.OnDatagram(response, a_.endpoint, kStart)),
            Only{FailureReason::kMac1});
}

TEST_F(EngineTest, InitiationsOfOnePeerNeedAGap) {
  ResponseFromB();
  // The next try of A comes after five seconds; a restarted A could be faster.
  Node again{1, 3};
  ASSERT_TRUE(again.Know(b_).ok());
  again.environment.SetWallNanos(a_.environment.WallNanos() + 1'000'000'000);
  const auto fast = again.engine.Initiate(b_.id, kStart).datagrams.at(0).bytes;
  EXPECT_EQ(Reasons(b_.engine.OnDatagram(fast, a_.endpoint, kStart + 19ms)),
            Only{FailureReason::kTooFast});
  EXPECT_EQ(b_.engine.OnDatagram(fast, a_.endpoint, kStart + 20ms).sessions.size(), 1U);
}

TEST_F(EngineTest, AStrangersKeyIsSilent) {
  Node stranger{3};
  ASSERT_TRUE(stranger.Know(b_).ok());
  const auto bytes = stranger.engine.Initiate(b_.id, kStart).datagrams.at(0).bytes;
  const auto out = b_.engine.OnDatagram(bytes, stranger_, kStart);
  EXPECT_EQ(Reasons(out), Only{FailureReason::kUnknownPeer});
  EXPECT_TRUE(out.datagrams.empty() && out.sessions.empty());
}

TEST_F(EngineTest, AnotherClusterSecretIsReportedAndNotAnswered) {
  Node other{1, 1, Key32(std::array<uint8_t, 32>{43})};  // A's static key, another secret
  ASSERT_TRUE(other.Know(b_).ok());
  const auto bytes = other.engine.Initiate(b_.id, kStart).datagrams.at(0).bytes;
  const auto out = b_.engine.OnDatagram(bytes, a_.endpoint, kStart);
  EXPECT_EQ(Reasons(out), Only{FailureReason::kAuthentication});
  EXPECT_EQ(out.failures[0].peer, a_.id);
  EXPECT_TRUE(out.datagrams.empty() && out.sessions.empty());
  // And it uses up no timestamp: the real A gets through.
  EXPECT_EQ(b_.engine.OnDatagram(InitiationFromA(), a_.endpoint, kStart).sessions.size(), 1U);
}

TEST(Engine, PairPskMustBeEqualOnBothSides) {
  const Key32 psk(std::array<uint8_t, 32>{7});
  const Key32 other_psk(std::array<uint8_t, 32>{8});
  for (const Key32* theirs : {&psk, &other_psk, static_cast<const Key32*>(nullptr)}) {
    Node a{1};
    Node b{2};
    ASSERT_TRUE(a.Know(b, psk.Clone()).ok());
    ASSERT_TRUE(b.Know(a, theirs ? std::optional(theirs->Clone()) : std::nullopt).ok());
    const auto bytes = a.engine.Initiate(b.id, kStart).datagrams.at(0).bytes;
    const auto out = b.engine.OnDatagram(bytes, a.endpoint, kStart);
    if (theirs == &psk) {
      EXPECT_EQ(out.sessions.size(), 1U);
    } else {
      EXPECT_EQ(Reasons(out), Only{FailureReason::kAuthentication});
      EXPECT_TRUE(out.datagrams.empty());
    }
  }
}

TEST_F(EngineTest, RetriesWithFreshMessagesAndGivesUp) {
  std::set<std::vector<uint8_t>> messages = {InitiationFromA()};
  Instant now = kStart;
  while (true) {
    const auto deadline = a_.engine.NextDeadline();
    ASSERT_TRUE(deadline);
    EXPECT_TRUE(a_.engine.OnTimer(*deadline - 1ns).datagrams.empty());
    const bool last = *deadline == kStart + 90s;
    if (!last) {
      EXPECT_GE(*deadline - now, 5s);
      EXPECT_LE(*deadline - now, 5s + 333ms);
    }
    now = *deadline;
    const auto out = a_.engine.OnTimer(now);
    if (last) {
      EXPECT_EQ(Reasons(out), Only{FailureReason::kTimeout});
      EXPECT_EQ(out.failures[0].peer, b_.id);
      EXPECT_TRUE(out.datagrams.empty());
      break;
    }
    ASSERT_EQ(out.datagrams.size(), 1U);
    EXPECT_TRUE(messages.insert(out.datagrams[0].bytes).second);
    EXPECT_TRUE(a_.engine.Initiate(b_.id, now).datagrams.empty()) << "one is under way";
  }
  EXPECT_GE(messages.size(), 17U);
  EXPECT_EQ(a_.engine.NextDeadline(), std::nullopt);
  EXPECT_FALSE(a_.engine.IsConnecting(b_.id));
  EXPECT_EQ(a_.engine.Initiate(b_.id, now).datagrams.size(), 1U) << "starts afresh";
}

TEST_F(EngineTest, LooksAgainSoonForAPeerThatMayBeInSeveralPlaces) {
  a_.engine.SetCandidates(b_.id, {*Endpoint::Parse("198.51.100.9:1")});
  EXPECT_EQ(a_.engine.Initiate(b_.id, kStart).datagrams.size(), 2U);
  const Instant second = *a_.engine.NextDeadline();
  EXPECT_GE(second - kStart, 1s);
  EXPECT_LE(second - kStart, 1333ms);
  const auto out = a_.engine.OnTimer(second);
  EXPECT_EQ(out.datagrams.size(), 2U);
  ASSERT_EQ(out.calls.size(), 1U);
  EXPECT_EQ(out.calls[0].tries, 2);
  EXPECT_GE(*a_.engine.NextDeadline() - second, 5s);
}

TEST_F(EngineTest, AConfirmedSessionEndsWhatIsUnderWay) {
  a_.engine.Initiate(b_.id, kStart);
  EXPECT_TRUE(a_.engine.IsConnecting(b_.id));
  a_.engine.OnConfirmed(b_.id);
  EXPECT_FALSE(a_.engine.IsConnecting(b_.id));
  EXPECT_EQ(a_.engine.NextDeadline(), std::nullopt);
  EXPECT_EQ(a_.engine.reserved_tags(), 0U);
}

TEST_F(EngineTest, TimestampsGrowWhenTheClockJumpsBack) {
  ASSERT_EQ(b_.engine.OnDatagram(InitiationFromA(), a_.endpoint, kStart).sessions.size(), 1U);
  a_.environment.SetWallNanos(5);
  const Instant retry = *a_.engine.NextDeadline();
  const auto out = a_.engine.OnTimer(retry);
  EXPECT_EQ(b_.engine.OnDatagram(out.datagrams.at(0).bytes, a_.endpoint, retry).sessions.size(),
            1U);
}

TEST_F(EngineTest, AnswerToAnAbandonedTryIsRefused) {
  const auto late = ResponseFromB();
  a_.engine.OnTimer(*a_.engine.NextDeadline());
  EXPECT_EQ(Reasons(a_.engine.OnDatagram(late, b_.endpoint, kStart + 6s)),
            Only{FailureReason::kUnexpected});
  EXPECT_TRUE(a_.engine.IsConnecting(b_.id));
}

TEST_F(EngineTest, RttIsMeasuredOnTheFirstTryOnly) {
  InitiationFromA();
  const Instant retry = *a_.engine.NextDeadline();
  const auto second = a_.engine.OnTimer(retry).datagrams.at(0).bytes;
  const auto response = b_.engine.OnDatagram(second, a_.endpoint, retry).datagrams.at(0).bytes;
  EXPECT_EQ(a_.engine.OnDatagram(response, b_.endpoint, retry).sessions.at(0).rtt, std::nullopt);
}

TEST_F(EngineTest, WithoutAnEndpointItWaitsForOne) {
  a_.engine.SetEndpoint(b_.id, Endpoint{});
  EXPECT_TRUE(a_.engine.Initiate(b_.id, kStart).datagrams.empty());
  EXPECT_EQ(a_.engine.NextDeadline(), std::nullopt);
  EXPECT_FALSE(a_.engine.IsConnecting(b_.id));
  a_.engine.SetEndpoint(b_.id, stranger_);
  ASSERT_TRUE(a_.engine.NextDeadline());
  EXPECT_LE(*a_.engine.NextDeadline(), kStart);
  const auto out = a_.engine.OnTimer(kStart + 100s);
  ASSERT_EQ(out.datagrams.size(), 1U);
  EXPECT_EQ(out.datagrams[0].to, stranger_);
  EXPECT_GT(*a_.engine.NextDeadline(), kStart + 100s);
}

TEST_F(EngineTest, AResponseMayComeFromElsewhere) {
  const auto response = ResponseFromB();
  const auto out = a_.engine.OnDatagram(response, stranger_, kStart);
  EXPECT_EQ(out.sessions.at(0).endpoint, stranger_);
  EXPECT_EQ(a_.engine.Initiate(b_.id, kStart + 1s).datagrams.at(0).to, stranger_);
}

TEST_F(EngineTest, AnInitiationMovesNoPeerWhoseAddressIsKnown) {
  const auto initiation = InitiationFromA();
  const auto out = b_.engine.OnDatagram(initiation, stranger_, kStart);
  EXPECT_EQ(out.datagrams.at(0).to, stranger_) << "the answer goes where the question came from";
  EXPECT_EQ(b_.engine.Initiate(a_.id, kStart).datagrams.at(0).to, a_.endpoint);

  Node fresh{2, 2};  // B, and it knows no address of A
  ASSERT_TRUE(fresh.engine.AddPeer(a_.id, {.static_public = a_.public_key}).ok());
  EXPECT_EQ(fresh.engine.OnDatagram(initiation, a_.endpoint, kStart).sessions.size(), 1U);
  EXPECT_EQ(fresh.engine.Initiate(a_.id, kStart).datagrams.at(0).to, a_.endpoint);
}

TEST_F(EngineTest, SimultaneousInitiationsMakeTwoSessions) {
  const auto from_a = InitiationFromA();
  const auto from_b = b_.engine.Initiate(a_.id, kStart).datagrams.at(0).bytes;
  auto at_b = b_.engine.OnDatagram(from_a, a_.endpoint, kStart);
  auto at_a = a_.engine.OnDatagram(from_b, b_.endpoint, kStart);
  auto done_a = a_.engine.OnDatagram(at_b.datagrams.at(0).bytes, b_.endpoint, kStart);
  auto done_b = b_.engine.OnDatagram(at_a.datagrams.at(0).bytes, a_.endpoint, kStart);
  ExpectMatch(at_b.sessions.at(0), done_a.sessions.at(0));
  ExpectMatch(at_a.sessions.at(0), done_b.sessions.at(0));
  EXPECT_NE(at_a.sessions[0].session_id, at_b.sessions[0].session_id);
}

TEST_F(EngineTest, AReservedTagIsNotHandedOut) {
  const uint64_t id =
      b_.engine.OnDatagram(InitiationFromA(), a_.endpoint, kStart).sessions.at(0).receive.at(0).id;
  // The same run again, but the tag is taken.
  Node a{1, 3};
  Node b{2, 2};
  ASSERT_TRUE(a.Know(b).ok() && b.Know(a).ok());
  b.engine.ReserveTag(HandshakeEngine::TagOf(id));
  const auto bytes = a.engine.Initiate(b.id, kStart).datagrams.at(0).bytes;
  const auto out = b.engine.OnDatagram(bytes, a.endpoint, kStart);
  EXPECT_NE(out.sessions.at(0).receive.at(0).id, id);
  EXPECT_NE(HandshakeEngine::TagOf(out.sessions[0].receive[0].id), HandshakeEngine::TagOf(id));
}

TEST_F(EngineTest, ForgeriesDoNotEndAHandshake) {
  const auto response = ResponseFromB();
  auto forged = response;
  forged[12] ^= 1U;
  FillMacs(forged, a_.engine.mac1_key(), std::nullopt);
  EXPECT_EQ(Reasons(a_.engine.OnDatagram(forged, b_.endpoint, kStart)),
            Only{FailureReason::kDecrypt});
  wire::CookieReply cookie{};
  cookie.type = kMessageCookieReply;
  std::memcpy(&cookie.receiver_index, response.data() + 8, 4);
  const auto raw = std::vector<uint8_t>(reinterpret_cast<const uint8_t*>(&cookie),
                                        reinterpret_cast<const uint8_t*>(&cookie + 1));
  EXPECT_EQ(Reasons(a_.engine.OnDatagram(raw, b_.endpoint, kStart)), Only{FailureReason::kDecrypt});
  EXPECT_EQ(a_.engine.OnDatagram(response, b_.endpoint, kStart).sessions.size(), 1U);
}

TEST_F(EngineTest, UnderLoadAnInitiatorMustShowItsAddress) {
  ExhaustLoad(b_, kStart);
  const auto out = b_.engine.OnDatagram(InitiationFromA(), a_.endpoint, kStart);
  EXPECT_TRUE(out.sessions.empty() && out.failures.empty());
  ASSERT_EQ(out.datagrams.size(), 1U);
  const auto cookie = out.datagrams[0].bytes;
  EXPECT_EQ(cookie.size(), sizeof(wire::CookieReply));

  // From anywhere: it moves no endpoint. A second one changes nothing.
  const auto taken = a_.engine.OnDatagram(cookie, stranger_, kStart);
  EXPECT_TRUE(taken.sessions.empty() && taken.datagrams.empty() && taken.failures.empty());
  EXPECT_EQ(Reasons(a_.engine.OnDatagram(cookie, b_.endpoint, kStart)),
            Only{FailureReason::kUnexpected});

  const Instant retry = *a_.engine.NextDeadline();
  const auto second = a_.engine.OnTimer(retry);
  ASSERT_EQ(second.datagrams.size(), 1U);
  EXPECT_EQ(second.datagrams[0].to, b_.endpoint);
  ExhaustLoad(b_, retry);
  // From another port, mac2 is worth nothing.
  const auto moved = b_.engine.OnDatagram(second.datagrams[0].bytes, stranger_, retry);
  EXPECT_TRUE(moved.sessions.empty());
  EXPECT_EQ(moved.datagrams.at(0).bytes.size(), sizeof(wire::CookieReply));
  EXPECT_EQ(b_.engine.OnDatagram(second.datagrams[0].bytes, a_.endpoint, retry).sessions.size(),
            1U);
}

TEST_F(EngineTest, UnderLoadAResponderMustShowItsAddress) {
  const auto response = ResponseFromB();
  ExhaustLoad(a_, kStart);
  const auto out = a_.engine.OnDatagram(response, b_.endpoint, kStart);
  EXPECT_TRUE(out.sessions.empty());
  const auto cookie = out.datagrams.at(0).bytes;
  EXPECT_TRUE(b_.engine.OnDatagram(cookie, a_.endpoint, kStart).failures.empty());

  const Instant retry = *a_.engine.NextDeadline();
  const auto initiation = a_.engine.OnTimer(retry).datagrams.at(0).bytes;
  const auto second = b_.engine.OnDatagram(initiation, a_.endpoint, retry).datagrams.at(0).bytes;
  ExhaustLoad(a_, retry);
  EXPECT_EQ(a_.engine.OnDatagram(second, b_.endpoint, retry).sessions.size(), 1U);
}

TEST_F(EngineTest, ARemovedPeerIsAStranger) {
  const auto response = ResponseFromB();
  a_.engine.RemovePeer(b_.id);
  EXPECT_EQ(a_.engine.NextDeadline(), std::nullopt);
  EXPECT_EQ(Reasons(a_.engine.OnDatagram(response, b_.endpoint, kStart)),
            Only{FailureReason::kUnexpected});
  const auto bytes = b_.engine.Initiate(a_.id, kStart).datagrams.at(0).bytes;
  EXPECT_EQ(Reasons(a_.engine.OnDatagram(bytes, b_.endpoint, kStart)),
            Only{FailureReason::kUnknownPeer});
  EXPECT_TRUE(a_.Know(b_).ok());
}

TEST_F(EngineTest, ARefusedKeyIsSilentAndCountedApart) {
  a_.engine.RemovePeer(b_.id);
  a_.engine.Refuse(b_.public_key);
  const auto bytes = b_.engine.Initiate(a_.id, kStart).datagrams.at(0).bytes;
  const Output out = a_.engine.OnDatagram(bytes, b_.endpoint, kStart);
  EXPECT_TRUE(out.datagrams.empty() && out.sessions.empty());
  EXPECT_EQ(Reasons(out), Only{FailureReason::kRevoked});
}

TEST_F(EngineTest, RefusesAPeerThatCannotBeOne) {
  EXPECT_EQ(a_.Know(b_).code(), absl::StatusCode::kAlreadyExists);
  NodeId other;
  other.bytes[5] = 9;
  EXPECT_EQ(a_.engine.AddPeer(other, {.static_public = b_.public_key}).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(a_.engine.AddPeer(other, {.static_public = a_.public_key}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(a_.engine.AddPeer(other, {.static_public = {}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(EngineTest, UnknownPeersAndTypesAreNoTrouble) {
  const NodeId nobody{};
  EXPECT_TRUE(a_.engine.Initiate(nobody, kStart).datagrams.empty());
  a_.engine.SetEndpoint(nobody, stranger_);
  a_.engine.RemovePeer(nobody);
  EXPECT_FALSE(a_.engine.IsConnecting(nobody));
  for (int type = 0; type < 256; ++type) {
    const std::vector<uint8_t> bytes(sizeof(wire::Initiation), static_cast<uint8_t>(type));
    EXPECT_EQ(Reasons(a_.engine.OnDatagram(bytes, stranger_, kStart)),
              Only{FailureReason::kMalformed});
  }
}

}  // namespace
}  // namespace omni::noise
