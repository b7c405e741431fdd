// SPDX-License-Identifier: Apache-2.0
// Handshakes of many nodes over a network that misbehaves.
//
//   node 1 ---+            +--- node 3      every node knows every other one, unless a test
//             |  network   |                says otherwise; loss, delay, duplicates and bit
//   node 2 ---+  (seeded)  +--- node N      flips as its Faults say
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/wire.h"
#include "controller/noise/cookies.h"
#include "controller/noise/session_keys.h"
#include "tests/sim/network.h"

namespace omni::sim {
namespace {

using noise::FailureReason;

constexpr Faults kHostile{.loss_percent = 30,
                          .duplicate_percent = 10,
                          .flip_percent = 5,
                          .min_delay = 1ms,
                          .max_delay = 300ms};
const Key32 kCluster(std::array<uint8_t, 32>{42});
const Endpoint kStranger = *Endpoint::Parse("198.51.100.66:6666");

class HandshakeSim : public ::testing::Test {
 protected:
  Node& AddNode(int workers = 1, const Key32& cluster = kCluster) {
    return network_.AddNode({.workers = workers, .cluster_psk = cluster.Clone()});
  }
  void AddMesh(int count) {
    for (int i = 0; i < count; ++i) AddNode(1 + i % 4);
    for (auto& a : network_.nodes()) {
      for (auto& b : network_.nodes()) {
        if (a->id < b->id) network_.Introduce(*a, *b);
      }
    }
  }
  void InitiateAll() {
    for (auto& a : network_.nodes()) {
      for (auto& b : network_.nodes()) {
        if (a != b) network_.Initiate(*a, *b);
      }
    }
  }
  Node& node(size_t i) { return *network_.nodes().at(i); }

  // Whether each pair shares a session; and no session has an end that does not fit.
  bool AllPairsAgree() {
    bool all = true;
    for (auto& a : network_.nodes()) {
      for (auto& b : network_.nodes()) {
        if (a == b) continue;
        bool shared = false;
        for (const auto& session : a->sessions) {
          if (session.peer != b->id) continue;
          const auto* other = FindSession(*b, session.session_id);
          if (other == nullptr) {
            // A responder's, whose answer was lost. An initiator's always has another end.
            EXPECT_EQ(session.role, noise::Role::kResponder);
            continue;
          }
          EXPECT_EQ(Mismatch(session, *other), "");
          shared = true;
        }
        all = all && shared;
      }
    }
    return all;
  }
  // Runs in steps until all pairs agree; false after `limit`.
  bool RunUntilAllPairsAgree(Duration limit) {
    const Instant end = network_.now() + limit;
    while (network_.now() < end) {
      network_.RunUntil(network_.now() + 1s);
      if (AllPairsAgree()) return true;
    }
    return false;
  }
  size_t SessionCount() {
    size_t count = 0;
    for (auto& n : network_.nodes()) count += n->sessions.size();
    return count;
  }
  // Injects each datagram, far enough apart not to be load, and expects that nothing comes of it.
  void ExpectNoEffect(const std::vector<Sent>& datagrams) {
    network_.RunUntil(network_.now() + 400s);  // whatever is under way ends
    const size_t sessions = SessionCount();
    const size_t sent = network_.sent().size();
    for (const Sent& datagram : datagrams) {
      network_.Inject(datagram, 0s);
      network_.RunUntil(network_.now() + 10ms);
      ASSERT_EQ(SessionCount(), sessions) << "type " << int{datagram.bytes[0]};
      ASSERT_EQ(network_.sent().size(), sent) << "type " << int{datagram.bytes[0]};
    }
  }

  Network network_{SeedForRun(), Faults{}};
};

TEST_F(HandshakeSim, EverybodyConnectsToEverybodyUnderLoss) {
  network_.SetFaults(kHostile);
  AddMesh(8);
  InitiateAll();
  EXPECT_TRUE(RunUntilAllPairsAgree(900s));
  std::set<uint64_t> ids;
  for (auto& n : network_.nodes()) {
    for (const auto& session : n->sessions) {
      for (const auto& channel : session.receive) {
        EXPECT_TRUE(ids.insert(channel.id).second) << "a channel id was handed out twice";
      }
    }
  }
}

TEST_F(HandshakeSim, SimultaneousInitiationsBothSucceed) {
  network_.SetFaults({.min_delay = 50ms, .max_delay = 50ms});
  AddMesh(2);
  InitiateAll();
  network_.RunUntil(network_.now() + 4s);
  EXPECT_EQ(node(0).sessions.size(), 2U);
  EXPECT_EQ(node(1).sessions.size(), 2U);
  EXPECT_TRUE(AllPairsAgree());
  EXPECT_TRUE(node(0).failures.empty() && node(1).failures.empty());
}

TEST_F(HandshakeSim, ReplayOfEveryDatagramHasNoEffectAndNoAnswer) {
  network_.SetFaults({.loss_percent = 20, .max_delay = 300ms});
  AddMesh(4);
  InitiateAll();
  ASSERT_TRUE(RunUntilAllPairsAgree(900s));
  network_.SetFaults({});
  network_.RunUntil(network_.now() + 400s);
  // What was lost for good is no replay: a newer initiation of its sender comes first.
  for (auto& n : network_.nodes()) n->environment->SetWallNanos(1'700'100'000'000'000'000);
  InitiateAll();
  network_.RunUntil(network_.now() + 4s);
  std::vector<Sent> replayed = network_.sent();
  const size_t count = replayed.size();
  for (size_t i = 0; i < count; ++i) {
    replayed.push_back({kStranger, replayed[i].to, replayed[i].bytes});
  }
  ExpectNoEffect(replayed);
}

TEST_F(HandshakeSim, ReflectedDatagramsHaveNoEffectAndNoAnswer) {
  AddMesh(4);
  InitiateAll();
  ASSERT_TRUE(RunUntilAllPairsAgree(10s));
  std::vector<Sent> reflected;
  for (const Sent& sent : network_.sent()) {
    reflected.push_back({sent.to, sent.from, sent.bytes});
    // And to everybody else.
    for (auto& n : network_.nodes()) {
      if (n->endpoint != sent.to) reflected.push_back({sent.from, n->endpoint, sent.bytes});
    }
  }
  ExpectNoEffect(reflected);
}

TEST_F(HandshakeSim, AWrongClusterSecretIsReportedAndLearnsNothing) {
  network_.SetOnTimeout(OnTimeout::kRest);
  AddMesh(3);
  Node& wrong = AddNode(1, Key32(std::array<uint8_t, 32>{43}));
  for (size_t i = 0; i < 3; ++i) network_.Introduce(node(i), wrong);
  InitiateAll();
  network_.RunUntil(network_.now() + 200s);
  EXPECT_TRUE(wrong.sessions.empty());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(node(i).sessions.size(), 4U);
    EXPECT_TRUE(std::any_of(node(i).failures.begin(), node(i).failures.end(), [&](const auto& f) {
      return f.reason == FailureReason::kAuthentication && f.peer == wrong.id;
    }));
  }
  for (const Sent& sent : network_.sent()) {
    if (sent.to == wrong.endpoint) {
      EXPECT_EQ(sent.bytes[0], noise::kMessageInitiation) << "it was answered";
    }
  }
}

TEST_F(HandshakeSim, AWrongPairPskStopsThatPairAlone) {
  network_.SetOnTimeout(OnTimeout::kRest);
  const Key32 good(std::array<uint8_t, 32>{1});
  const Key32 bad(std::array<uint8_t, 32>{2});
  for (int i = 0; i < 3; ++i) AddNode();
  network_.Introduce(node(0), node(1), &good, &good);
  network_.Introduce(node(0), node(2), &good, &bad);
  network_.Introduce(node(1), node(2));
  InitiateAll();
  network_.RunUntil(network_.now() + 200s);
  const auto sessions_between = [&](size_t a, size_t b) {
    return std::count_if(node(a).sessions.begin(), node(a).sessions.end(),
                         [&](const auto& s) { return s.peer == node(b).id; });
  };
  EXPECT_EQ(sessions_between(0, 1), 2);
  EXPECT_EQ(sessions_between(1, 2), 2);
  EXPECT_EQ(sessions_between(0, 2), 0);
  EXPECT_EQ(sessions_between(2, 0), 0);
}

TEST_F(HandshakeSim, RekeysForAnHourUnderLoss) {
  network_.SetFaults(kHostile);
  AddMesh(3);
  for (int round = 0; round < 30; ++round) {
    for (auto& n : network_.nodes()) {
      for (const auto& session : n->sessions) {
        n->engine->ReleaseTag(noise::HandshakeEngine::TagOf(session.receive.front().id));
      }
      n->sessions.clear();
    }
    InitiateAll();
    const Instant end = network_.now() + 120s;
    EXPECT_TRUE(RunUntilAllPairsAgree(900s)) << "round " << round;
    network_.RunUntil(end);
  }
}

TEST_F(HandshakeSim, PeersGetThroughAFloodWithCookies) {
  network_.SetFaults({.loss_percent = 5, .min_delay = 5ms, .max_delay = 40ms});
  AddMesh(6);
  Node& victim = node(0);
  // Twice the rate that is worked on without a proof of address, from addresses that do not exist.
  const auto junk_interval = noise::LoadLimiter::kInterval / 2;
  const auto flood = [&](Duration length) {
    for (Duration at = 0s; at < length; at += junk_interval) {
      Endpoint spoofed = kStranger;
      spoofed.port = static_cast<uint16_t>(1 + network_.random()() % 65535);
      std::vector<uint8_t> junk(sizeof(wire::Initiation));
      for (auto& byte : junk) byte = static_cast<uint8_t>(network_.random()());
      junk[0] = noise::kMessageInitiation;
      std::fill_n(junk.begin() + 1, 3, uint8_t{0});
      noise::FillMacs(junk, victim.engine->mac1_key(), std::nullopt);
      network_.Inject({spoofed, victim.endpoint, std::move(junk)}, at);
    }
  };
  flood(2s);
  network_.RunUntil(network_.now() + 2s);
  InitiateAll();
  bool all = false;
  for (int second = 0; second < 60 && !all; ++second) {
    flood(1s);
    all = RunUntilAllPairsAgree(1s);
  }
  EXPECT_TRUE(all);
  const auto cookies =
      std::count_if(network_.sent().begin(), network_.sent().end(), [&](const Sent& sent) {
        return sent.bytes[0] == noise::kMessageCookieReply && sent.to.address != kStranger.address;
      });
  EXPECT_GT(cookies, 0) << "the flood was no load";
}

TEST_F(HandshakeSim, PeersFollowChangedPorts) {
  AddMesh(2);
  network_.Initiate(node(0), node(1));
  network_.RunUntil(network_.now() + 1s);
  ASSERT_TRUE(AllPairsAgree());
  for (int round = 0; round < 10; ++round) {
    // Whoever moved must speak first; afterwards the other one finds it.
    Node& moving = node(static_cast<size_t>(round % 2));
    Node& staying = node(static_cast<size_t>(1 - round % 2));
    network_.ChangePort(moving);
    network_.Initiate(moving, staying);
    network_.RunUntil(network_.now() + 1s);
    EXPECT_EQ(staying.sessions.back().endpoint, moving.endpoint);
    const size_t before = staying.sessions.size();
    network_.Initiate(staying, moving);
    network_.RunUntil(network_.now() + 1s);
    EXPECT_EQ(staying.sessions.size(), before + 1);
    EXPECT_TRUE(AllPairsAgree());
  }
}

TEST_F(HandshakeSim, TheSameSeedIsTheSameRun) {
  const auto run = [] {
    Network network(7, kHostile);
    for (int i = 0; i < 3; ++i) network.AddNode({.workers = 1, .cluster_psk = kCluster.Clone()});
    for (size_t i = 0; i < 3; ++i) {
      for (size_t j = i + 1; j < 3; ++j)
        network.Introduce(*network.nodes()[i], *network.nodes()[j]);
    }
    network.Initiate(*network.nodes()[0], *network.nodes()[1]);
    network.Initiate(*network.nodes()[1], *network.nodes()[2]);
    network.RunUntil(network.now() + 100s);
    std::vector<uint8_t> all;
    for (const Sent& sent : network.sent()) {
      all.insert(all.end(), sent.bytes.begin(), sent.bytes.end());
    }
    return all;
  };
  EXPECT_EQ(run(), run());
}

}  // namespace
}  // namespace omni::sim
