// SPDX-License-Identifier: Apache-2.0
// A network of handshake engines with a virtual clock: datagrams are lost, delayed (and so
// reordered), duplicated and damaged as a seed decides, and every one that was sent is recorded.
// One thread; a run with the same seed is the same run.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"
#include "controller/noise/engine.h"
#include "controller/noise/fake_environment.h"
#include "controller/noise/ik_psk2.h"
#include "tests/sim/nat.h"

namespace omni::sim {

// OMNI_SEED from the environment, else a random one. Printed, so that a failure can be repeated.
uint64_t SeedForRun();

struct Faults {
  int loss_percent = 0;
  int duplicate_percent = 0;
  int flip_percent = 0;  // one random bit
  Duration min_delay = 1ms;
  Duration max_delay = 20ms;
};

struct Sent {
  Endpoint from;
  Endpoint to;
  std::vector<uint8_t> bytes;
};

// One machine. What its engine produced stays here for the test to look at.
struct Node {
  NodeId id;
  Endpoint endpoint;
  noise::PublicKey public_key{};
  std::unique_ptr<noise::FakeEnvironment> environment;
  std::unique_ptr<noise::HandshakeEngine> engine;
  std::unique_ptr<Nat> nat;  // null: `endpoint` is on the internet
  std::vector<noise::EstablishedSession> sessions;
  std::vector<noise::Failure> failures;
};

struct NodeOptions {
  int workers = 1;
  Key32 cluster_psk;
  std::optional<NatKind> nat = std::nullopt;
};

// What happens to a handshake that was given up: as a controller with traffic does, or nothing.
enum class OnTimeout { kInitiateAgain, kRest };

class Network {
 public:
  Network(uint64_t seed, Faults faults) : random_(seed), faults_(faults) {}

  Node& AddNode(NodeOptions options);
  // Each learns the other's keys and endpoint.
  void Introduce(Node& a, Node& b, const Key32* psk_of_a = nullptr,
                 const Key32* psk_of_b = nullptr);
  // Each learns from a Nucleus the other's keys, and as candidates its own address and the one
  // where the Nucleus sees it.
  void IntroduceByNucleus(Node& a, Node& b);
  // Whether the Nucleus passes calls on (noise::Call), `delay` later.
  void SetCalls(std::optional<Duration> delay) { call_delay_ = delay; }
  // The node sends and receives at another port from now on, as behind a NAT that was restarted.
  void ChangePort(Node& node);
  void SetFaults(Faults faults) { faults_ = faults; }
  void SetOnTimeout(OnTimeout on_timeout) { on_timeout_ = on_timeout; }

  void Initiate(Node& node, const Node& peer);
  // As if the peer had called the node.
  void Punch(Node& node, const Node& peer);
  // A datagram as if it had been sent from `from`; not subject to faults.
  void Inject(Sent datagram, Duration delay);
  // Lets time pass until nothing is left to do before `end`.
  void RunUntil(Instant end);

  Instant now() const { return now_; }
  std::vector<std::unique_ptr<Node>>& nodes() { return nodes_; }
  const std::vector<Sent>& sent() const { return sent_; }
  std::mt19937_64& random() { return random_; }

 private:
  void Apply(Node& node, noise::Output output);
  // The initiator's first packet on a new session, which shows the responder where it is.
  void Confirm(Node& initiator, const noise::EstablishedSession& session);
  void Transmit(Sent datagram);
  void Deliver(const Sent& datagram);
  void PassCall(const Node& caller, const noise::Call& call);
  // The node's address as `to` sees it.
  static Endpoint SeenFrom(const Endpoint& to, Node& node);
  bool Chance(int percent) { return static_cast<int>(random_() % 100) < percent; }
  Duration Delay();

  std::mt19937_64 random_;
  Faults faults_;
  OnTimeout on_timeout_ = OnTimeout::kInitiateAgain;
  Instant now_ = Instant(1000s);
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<Endpoint, Node*> by_endpoint_;
  std::multimap<Instant, Sent> in_flight_;
  std::vector<Sent> sent_;
  std::optional<Duration> call_delay_;
  struct PendingCall {
    NodeId caller;
    NodeId callee;
  };
  std::multimap<Instant, PendingCall> calls_;
};

// The session of `node` with that id, or null.
const noise::EstablishedSession* FindSession(const Node& node,
                                             const std::array<uint8_t, 16>& session_id);

// Why two ends of a session do not fit together; empty when they do.
std::string Mismatch(const noise::EstablishedSession& a, const noise::EstablishedSession& b);

}  // namespace omni::sim
