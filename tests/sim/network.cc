// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "common/status.h"

namespace omni::sim {

uint64_t SeedForRun() {
  const char* given = std::getenv("OMNI_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  fmt::print("seed {}; repeat with OMNI_SEED={}\n", seed, seed);
  return seed;
}

Node& Network::AddNode(NodeOptions options) {
  const auto number = static_cast<uint8_t>(nodes_.size() + 1);
  auto node = std::make_unique<Node>();
  node->environment = std::make_unique<noise::FakeEnvironment>(random_());
  node->id.bytes[0] = number;
  node->endpoint = {.address = *IpAddress::Parse("192.0.2.0"), .port = 51900};
  node->endpoint.address.bytes[3] = number;
  if (options.nat) {
    node->nat = std::make_unique<Nat>(*options.nat, node->endpoint.address);
    node->endpoint.address = *IpAddress::Parse("10.0.0.2");
    node->endpoint.address.bytes[2] = number;  // no two sites have the same
  }
  Key32 private_key;
  node->environment->Random({private_key.mutable_data(), private_key.size()});
  node->public_key = noise::PublicOf(private_key);
  noise::HandshakeEngine::Options engine_options;
  engine_options.static_private = std::move(private_key);
  engine_options.cluster_psk = std::move(options.cluster_psk);
  engine_options.workers = options.workers;
  engine_options.environment = node->environment.get();
  node->engine = std::make_unique<noise::HandshakeEngine>(std::move(engine_options));
  by_endpoint_[node->endpoint] = node.get();
  nodes_.push_back(std::move(node));
  return *nodes_.back();
}

void Network::Introduce(Node& a, Node& b, const Key32* psk_of_a, const Key32* psk_of_b) {
  const auto know = [](Node& node, const Node& other, const Key32* psk) {
    noise::PeerOptions options;
    options.static_public = other.public_key;
    options.endpoint = other.endpoint;
    if (psk != nullptr) options.pair_psk = psk->Clone();
    OMNI_CHECK(node.engine->AddPeer(other.id, std::move(options)).ok());
  };
  know(a, b, psk_of_a);
  know(b, a, psk_of_b);
}

void Network::IntroduceByNucleus(Node& a, Node& b) {
  static const Endpoint kNucleus = *Endpoint::Parse("198.51.100.1:51900");
  const auto know = [](Node& node, Node& other) {
    noise::PeerOptions options;
    options.static_public = other.public_key;
    OMNI_CHECK(node.engine->AddPeer(other.id, std::move(options)).ok());
    node.engine->SetCandidates(other.id, {other.endpoint, SeenFrom(kNucleus, other)});
  };
  know(a, b);
  know(b, a);
}

Endpoint Network::SeenFrom(const Endpoint& to, Node& node) {
  return node.nat ? node.nat->Outward(node.endpoint, to) : node.endpoint;
}

void Network::PassCall(const Node& caller, const noise::Call& call) {
  if (call_delay_) calls_.emplace(now_ + *call_delay_, PendingCall{caller.id, call.peer});
}

void Network::ChangePort(Node& node) {
  by_endpoint_.erase(node.endpoint);
  ++node.endpoint.port;
  by_endpoint_[node.endpoint] = &node;
}

void Network::Initiate(Node& node, const Node& peer) {
  Apply(node, node.engine->Initiate(peer.id, now_));
}

void Network::Punch(Node& node, const Node& peer) {
  Apply(node, node.engine->Punch(peer.id, now_));
}

void Network::Inject(Sent datagram, Duration delay) {
  in_flight_.emplace(now_ + delay, std::move(datagram));
}

Duration Network::Delay() {
  const auto span = static_cast<uint64_t>((faults_.max_delay - faults_.min_delay).count()) + 1;
  return faults_.min_delay + Duration(static_cast<Duration::rep>(random_() % span));
}

void Network::Transmit(Sent datagram) {
  sent_.push_back(datagram);
  if (Chance(faults_.loss_percent)) return;
  if (Chance(faults_.duplicate_percent)) in_flight_.emplace(now_ + Delay(), datagram);
  if (Chance(faults_.flip_percent)) {
    const size_t bit = random_() % (datagram.bytes.size() * 8);
    datagram.bytes[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
  }
  in_flight_.emplace(now_ + Delay(), std::move(datagram));
}

void Network::Confirm(Node& initiator, const noise::EstablishedSession& session) {
  for (const auto& node : nodes_) {
    if (node->id == session.peer && FindSession(*node, session.session_id) != nullptr) {
      node->engine->SetEndpoint(initiator.id, SeenFrom(session.endpoint, initiator));
      if (call_delay_) node->engine->OnConfirmed(initiator.id);
    }
  }
}

void Network::Apply(Node& node, noise::Output output) {
  for (auto& session : output.sessions) {
    if (session.role == noise::Role::kInitiator) Confirm(node, session);
    node.sessions.push_back(std::move(session));
  }
  for (auto& datagram : output.datagrams) {
    const Endpoint from = SeenFrom(datagram.to, node);
    Transmit({from, datagram.to, std::move(datagram.bytes)});
  }
  for (const noise::Call& call : output.calls) PassCall(node, call);
  for (const auto& failure : output.failures) {
    node.failures.push_back(failure);
    if (failure.reason == noise::FailureReason::kTimeout &&
        on_timeout_ == OnTimeout::kInitiateAgain) {
      Apply(node, node.engine->Initiate(*failure.peer, now_));
    }
  }
}

void Network::Deliver(const Sent& datagram) {
  Endpoint to = datagram.to;
  for (const auto& node : nodes_) {
    if (!node->nat || node->nat->outer() != to.address) continue;
    const auto inner = node->nat->Inward(datagram.from, to);
    if (!inner) return;
    to = *inner;
    break;
  }
  const auto it = by_endpoint_.find(to);
  if (it == by_endpoint_.end()) return;
  // A private address is one of another site, but for those who are in it.
  if (it->second->nat && to == datagram.to) return;
  Node& node = *it->second;
  Apply(node, node.engine->OnDatagram(datagram.bytes, datagram.from, now_));
}

void Network::RunUntil(Instant end) {
  while (true) {
    std::optional<Instant> next;
    Node* due = nullptr;
    if (!in_flight_.empty()) next = in_flight_.begin()->first;
    const bool call_is_next = !calls_.empty() && (!next || calls_.begin()->first < *next);
    if (call_is_next) next = calls_.begin()->first;
    for (const auto& node : nodes_) {
      const auto deadline = node->engine->NextDeadline();
      if (deadline && (!next || *deadline < *next)) {
        next = deadline;
        due = node.get();
      }
    }
    if (!next || *next > end) break;
    const Duration step = std::max(*next - now_, Duration(0));
    now_ += step;
    for (const auto& node : nodes_) {
      node->environment->SetWallNanos(node->environment->WallNanos() +
                                      static_cast<uint64_t>(step.count()));
    }
    if (due != nullptr) {
      Apply(*due, due->engine->OnTimer(now_));
    } else if (call_is_next) {
      const PendingCall call = calls_.extract(calls_.begin()).mapped();
      for (const auto& node : nodes_) {
        if (node->id == call.callee) Apply(*node, node->engine->Punch(call.caller, now_));
      }
    } else {
      const Sent datagram = std::move(in_flight_.extract(in_flight_.begin()).mapped());
      Deliver(datagram);
    }
  }
  now_ = std::max(now_, end);
}

const noise::EstablishedSession* FindSession(const Node& node,
                                             const std::array<uint8_t, 16>& session_id) {
  const auto it = std::find_if(node.sessions.begin(), node.sessions.end(),
                               [&](const auto& s) { return s.session_id == session_id; });
  return it == node.sessions.end() ? nullptr : &*it;
}

std::string Mismatch(const noise::EstablishedSession& a, const noise::EstablishedSession& b) {
  if (a.session_id != b.session_id) return "session ids differ";
  if (a.role == b.role) return "both have the same role";
  for (const auto& [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
    if (from->send.empty() || from->send.size() != to->receive.size()) {
      return "numbers of channels differ";
    }
    for (size_t i = 0; i < from->send.size(); ++i) {
      if (from->send[i].id != to->receive[i].id) return fmt::format("channel {}: ids differ", i);
      if (!(from->send[i].key == to->receive[i].key)) {
        return fmt::format("channel {}: keys differ", i);
      }
    }
  }
  return "";
}

}  // namespace omni::sim
