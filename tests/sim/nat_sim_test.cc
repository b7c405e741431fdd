// SPDX-License-Identifier: Apache-2.0
// Two nodes behind NATs that know each other from a Nucleus: who reaches whom, and how soon.
//
//   a --- NAT --- network --- NAT --- b        each kind of NAT, and none, with each
//                    |
//                 Nucleus                      knows their outer addresses, passes calls on
#include <gtest/gtest.h>

#include <memory>

#include "tests/sim/network.h"

namespace omni::sim {
namespace {

const Key32 kCluster(std::array<uint8_t, 32>{42});
constexpr Duration kOneWay = 20ms;
// Of a call: to the Nucleus and on.
constexpr Duration kCallDelay = 2 * kOneWay;
constexpr std::optional<NatKind> kNone = std::nullopt;
constexpr std::array<std::optional<NatKind>, 5> kKinds = {
    kNone, NatKind::kFullCone, NatKind::kAddressRestricted, NatKind::kPortRestricted,
    NatKind::kSymmetric};

// Towards a symmetric NAT only a filter that looks at addresses alone, or none, lets a node answer:
// the port that the Nucleus sees is not the one that the peer meets.
bool CanBeDirect(std::optional<NatKind> a, std::optional<NatKind> b) {
  const auto filters_ports = [](std::optional<NatKind> kind) {
    return kind == NatKind::kPortRestricted || kind == NatKind::kSymmetric;
  };
  if (a == NatKind::kSymmetric) return !filters_ports(b);
  if (b == NatKind::kSymmetric) return !filters_ports(a);
  return true;
}

std::string Describe(std::optional<NatKind> a, std::optional<NatKind> b) {
  return std::string(a ? Name(*a) : "none") + " to " + std::string(b ? Name(*b) : "none");
}

struct Pair {
  Pair(std::optional<NatKind> kind_a, std::optional<NatKind> kind_b, Faults faults, uint64_t seed)
      : network(seed, faults),
        a(network.AddNode({.cluster_psk = kCluster.Clone(), .nat = kind_a})),
        b(network.AddNode({.cluster_psk = kCluster.Clone(), .nat = kind_b})) {
    network.SetCalls(kCallDelay);
    network.IntroduceByNucleus(a, b);
  }
  // Whether both hold one session, of which a has heard.
  bool agree() const {
    for (const auto& session : a.sessions) {
      const auto* other = FindSession(b, session.session_id);
      if (other != nullptr) return Mismatch(session, *other).empty();
    }
    return false;
  }
  std::optional<Duration> RunUntilAgree(Duration limit) {
    const Instant begin = network.now();
    while (network.now() < begin + limit) {
      network.RunUntil(network.now() + 10ms);
      if (agree()) return network.now() - begin;
    }
    return std::nullopt;
  }

  Network network;
  Node& a;
  Node& b;
};

constexpr Faults kClean{.min_delay = kOneWay, .max_delay = kOneWay};

TEST(NatSim, EveryPairThatCanBeDirectIsSoAtOnce) {
  for (const auto kind_a : kKinds) {
    for (const auto kind_b : kKinds) {
      Pair pair(kind_a, kind_b, kClean, 1);
      pair.network.Initiate(pair.a, pair.b);
      const auto took = pair.RunUntilAgree(60s);
      EXPECT_EQ(took.has_value(), CanBeDirect(kind_a, kind_b)) << Describe(kind_a, kind_b);
      if (!took) continue;
      // The call, and a handshake from the other side: no retry was needed. But where that one has
      // no way, it only opens the filter for the next try.
      const bool needs_retry =
          kind_a == NatKind::kSymmetric && kind_b == NatKind::kAddressRestricted;
      const Duration limit = kCallDelay + 2 * kOneWay + (needs_retry ? 1333ms : 10ms);
      EXPECT_LE(*took, limit) << Describe(kind_a, kind_b);
    }
  }
}

TEST(NatSim, WithoutACallNobodyGetsPastAFilter) {
  for (const NatKind filter : {NatKind::kAddressRestricted, NatKind::kPortRestricted}) {
    Pair pair(NatKind::kPortRestricted, filter, kClean, 1);
    pair.network.SetCalls(std::nullopt);
    pair.network.Initiate(pair.a, pair.b);
    EXPECT_FALSE(pair.RunUntilAgree(60s)) << Name(filter);
  }
}

TEST(NatSim, BothMayBeginAtOnce) {
  for (const auto kind_a : kKinds) {
    for (const auto kind_b : kKinds) {
      if (!CanBeDirect(kind_a, kind_b)) continue;
      Pair pair(kind_a, kind_b, kClean, 1);
      pair.network.Initiate(pair.a, pair.b);
      pair.network.Initiate(pair.b, pair.a);
      EXPECT_TRUE(pair.RunUntilAgree(1s)) << Describe(kind_a, kind_b);
    }
  }
}

TEST(NatSim, LossOnlyDelays) {
  const uint64_t seed = SeedForRun();
  for (uint64_t round = 0; round < 20; ++round) {
    for (const auto kind_b : kKinds) {
      if (!CanBeDirect(NatKind::kPortRestricted, kind_b)) continue;
      Pair pair(NatKind::kPortRestricted, kind_b,
                {.loss_percent = 30, .duplicate_percent = 10, .max_delay = 200ms}, seed + round);
      pair.network.Initiate(pair.a, pair.b);
      EXPECT_TRUE(pair.RunUntilAgree(600s)) << Describe(NatKind::kPortRestricted, kind_b);
    }
  }
}

TEST(NatSim, CallsThatAreMadeUpCostABoundedNumberOfInitiations) {
  Pair pair(NatKind::kSymmetric, NatKind::kSymmetric, kClean, 1);
  pair.network.SetCalls(std::nullopt);
  const size_t before = pair.network.sent().size();
  for (int i = 0; i < 10'000; ++i) {
    pair.network.Punch(pair.b, pair.a);
    pair.network.RunUntil(pair.network.now() + 1ms);
  }
  // Ten seconds, two candidates, once a second each; and none is repeated by itself.
  const size_t sent = pair.network.sent().size() - before;
  EXPECT_GE(sent, 18U);
  EXPECT_LE(sent, 22U);
  EXPECT_TRUE(pair.b.failures.empty());
  pair.network.RunUntil(pair.network.now() + 200s);
  EXPECT_LE(pair.network.sent().size() - before, 22U);
}

// What the handshake that was begun for a call leaves behind when traffic comes meanwhile.
TEST(NatSim, TrafficTakesOverWhatACallBegan) {
  Pair pair(NatKind::kSymmetric, NatKind::kSymmetric, kClean, 1);
  pair.network.SetCalls(std::nullopt);
  const auto punched = pair.b.engine->Punch(pair.a.id, pair.network.now());
  EXPECT_EQ(punched.datagrams.size(), 2U);
  EXPECT_TRUE(punched.calls.empty()) << "the one who calls need not be called";
  pair.network.SetOnTimeout(OnTimeout::kRest);
  pair.network.Initiate(pair.b, pair.a);
  pair.network.RunUntil(pair.network.now() + 200s);
  ASSERT_EQ(pair.b.failures.size(), 1U) << "it is tried until it is given up";
  EXPECT_EQ(pair.b.failures[0].reason, noise::FailureReason::kTimeout);
}

}  // namespace
}  // namespace omni::sim
