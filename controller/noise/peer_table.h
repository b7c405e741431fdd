// SPDX-License-Identifier: Apache-2.0
// What the engine keeps about each peer, and the three ways to find one: by node id, by static key,
// by the index of a message that we sent. Memory is bounded by the number of peers: a peer has at
// most one initiation and one response that can still be answered.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "controller/noise/cookies.h"
#include "controller/noise/engine.h"
#include "controller/noise/ik_psk2.h"
#include "controller/noise/payload.h"

namespace omni::noise {

enum class SentKind : uint8_t { kInitiation, kResponse };

// A message of ours that may be answered with a cookie reply.
struct SentMessage {
  uint32_t index = 0;
  Mac mac1{};
  // After the first good reply further ones to the same message change nothing.
  bool cookie_taken = false;
};

// An initiation under way: the latest try.
struct Pending {
  Initiator state;
  Offer offer;        // ours
  size_t secret = 0;  // which of ours it was made with
  Instant sent;
  std::vector<uint8_t> bytes;
};

struct HeldCookie {
  Mac value{};
  Instant received;
};

struct Peer {
  NodeId id;
  PublicKey static_public{};
  std::array<uint8_t, 32> mac1_key{};
  std::array<uint8_t, 32> cookie_reply_key{};
  Key32 static_static;
  std::optional<Key32> pair_psk;
  std::vector<Key32> psks;           // one for each cluster secret that we hold
  std::optional<SecretTag> holds;    // from elsewhere: a secret that the peer has
  std::optional<SecretTag> present;  // the one that it uses, as its last handshake said
  Endpoint endpoint;
  std::vector<Endpoint> candidates;
  Endpoint relay;

  uint64_t newest_timestamp = 0;       // of an accepted initiation
  PublicKey newest_ephemeral{};        // of the same
  std::optional<Instant> accepted_at;  // the latest one
  bool wanted = false;                 // Initiate() was called while there was no endpoint
  std::optional<Instant> started;      // first try of the handshake under way
  int tries = 0;
  bool is_punch = false;             // begun by Punch() alone: not repeated
  std::optional<Instant> last_sent;  // an initiation
  std::unique_ptr<Pending> pending;  // apart: few have one at a time, and it is large
  // The try under way goes by the relay as well at `deadline`, and the next one begins then.
  std::optional<Instant> next_try;
  std::array<std::optional<SentMessage>, 2> sent;  // by SentKind
  std::optional<HeldCookie> cookie;
  std::optional<Instant> deadline;  // mirrored in PeerTable's order

  // Where to send an initiation directly, none twice: the endpoint first.
  std::vector<Endpoint> Targets() const {
    // LIMIT: as many as a node record holds: a hostile one must not make us flood strangers.
    constexpr size_t kMaxTargets = 17;
    std::vector<Endpoint> targets;
    if (endpoint.is_set() && endpoint != relay) targets.push_back(endpoint);
    for (const Endpoint& candidate : candidates) {
      const bool known = candidate == relay ||
                         std::find(targets.begin(), targets.end(), candidate) != targets.end();
      if (!known && targets.size() < kMaxTargets) targets.push_back(candidate);
    }
    return targets;
  }
  bool CanBeCalled() const { return relay.is_set() || !Targets().empty(); }
  std::optional<SentMessage>& sent_of(SentKind kind) { return sent[static_cast<size_t>(kind)]; }
};

class PeerTable {
 public:
  struct Indexed {
    Peer* peer = nullptr;
    SentKind kind = SentKind::kInitiation;
  };

  // Null when the id or the static key is taken.
  Peer* Add(std::unique_ptr<Peer> peer) {
    if (peers_.contains(peer->id) || by_static_.contains(peer->static_public)) return nullptr;
    Peer* raw = peer.get();
    by_static_[raw->static_public] = raw;
    peers_[raw->id] = std::move(peer);
    return raw;
  }
  void Remove(Peer& peer) {
    ForgetSent(peer, SentKind::kInitiation);
    ForgetSent(peer, SentKind::kResponse);
    SetDeadline(peer, std::nullopt);
    by_static_.erase(peer.static_public);
    peers_.erase(NodeId(peer.id));
  }

  Peer* Find(const NodeId& id) const {
    const auto it = peers_.find(id);
    return it == peers_.end() ? nullptr : it->second.get();
  }
  Peer* FindByStatic(const PublicKey& key) const {
    const auto it = by_static_.find(key);
    return it == by_static_.end() ? nullptr : it->second;
  }
  Indexed FindByIndex(uint32_t index) const {
    const auto it = by_index_.find(index);
    return it == by_index_.end() ? Indexed{} : it->second;
  }

  template <typename Action>
  void ForEach(Action action) {
    for (auto& [id, peer] : peers_) action(*peer);
  }

  // A random index that no message under way has; replaces the peer's former one of that kind.
  uint32_t NewIndex(Peer& peer, SentKind kind, Environment& environment) {
    ForgetSent(peer, kind);
    uint32_t index = 0;
    do {
      environment.Random({reinterpret_cast<uint8_t*>(&index), sizeof(index)});  // SAFETY: bytes
    } while (!by_index_.try_emplace(index, Indexed{&peer, kind}).second);
    peer.sent_of(kind) = SentMessage{.index = index};
    return index;
  }
  void ForgetSent(Peer& peer, SentKind kind) {
    auto& sent = peer.sent_of(kind);
    if (sent) by_index_.erase(sent->index);
    sent.reset();
  }

  void SetDeadline(Peer& peer, std::optional<Instant> deadline) {
    if (peer.deadline) deadlines_.erase({*peer.deadline, peer.id});
    peer.deadline = deadline;
    if (deadline) deadlines_.insert({*deadline, peer.id});
  }
  std::optional<Instant> NextDeadline() const {
    if (deadlines_.empty()) return std::nullopt;
    return deadlines_.begin()->first;
  }
  // A peer whose deadline has come, or null.
  Peer* NextDue(Instant now) const {
    if (deadlines_.empty() || deadlines_.begin()->first > now) return nullptr;
    return Find(deadlines_.begin()->second);
  }

 private:
  absl::flat_hash_map<NodeId, std::unique_ptr<Peer>> peers_;
  absl::flat_hash_map<PublicKey, Peer*> by_static_;
  absl::flat_hash_map<uint32_t, Indexed> by_index_;
  std::set<std::pair<Instant, NodeId>> deadlines_;  // by id, so that a run can be repeated
};

}  // namespace omni::noise
