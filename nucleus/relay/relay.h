// SPDX-License-Identifier: Apache-2.0
// Relay: which datagrams of session data the Nucleus sends on, and to whom. A node opens channels
// of its own for one peer; what that peer sends with one of these channel ids goes to the node,
// once, as it is, within the quota of the two. Everything else is dropped and counted. Pure: time
// is an argument, who is connected is the server's to know. Owned by NucleusServer; its one thread.
//
//   A, at its address ── channel id of B, counter, ciphertext ──► Nucleus ── the same bytes ──► B
//
// The Nucleus can read and forge nothing: B's dataplane opens the datagram, or drops it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/clock.h"
#include "common/node_id.h"
#include "common/relay/relay.h"

namespace omni {

// A node of a cluster; the number is the server's.
struct RelayParty {
  uint32_t cluster = 0;
  NodeId node;
  friend bool operator==(const RelayParty&, const RelayParty&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const RelayParty& p) {
    return H::combine(std::move(h), p.cluster, p.node);
  }
};

class Relay {
 public:
  using Options = RelayLimits;  // nothing for a pair: nothing is relayed
  using Verdict = RelayVerdict;

  explicit Relay(Options options) : options_(options), total_(options.total_bytes_per_s) {}

  bool enabled() const { return options_.pair_bytes_per_s > 0; }
  // `to` receives what `from` sends with these channel ids, until `expires`. False: too many are
  // open already, or one of them is another node's.
  bool Open(const RelayParty& from, const RelayParty& to, std::span<const uint64_t> channels,
            Instant expires, Instant now);
  // Whatever was opened by the node is closed: it has gone.
  void Close(const RelayParty& to);
  void DropExpired(Instant now);

  struct Decision {
    Verdict verdict = Verdict::kForward;
    std::optional<NodeId> to;  // kForward
  };
  // A datagram that begins as session data does, from a node that is connected.
  Decision Take(const RelayParty& from, std::span<const uint8_t> datagram, Instant now);

  size_t channels() const { return channels_.size(); }
  uint64_t count(Verdict verdict) const { return counts_[static_cast<size_t>(verdict)]; }
  uint64_t bytes() const { return bytes_; }

 private:
  struct Key {
    RelayParty from;
    uint64_t channel = 0;
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& k) {
      return H::combine(std::move(h), k.from, k.channel);
    }
  };
  struct Channel {
    NodeId to;
    Instant expires;
    std::unique_ptr<RelayedChannel> state;  // from its first datagram on
  };
  using Pair = std::pair<RelayParty, NodeId>;  // from, to

  Decision Refuse(Verdict verdict);
  std::unique_ptr<RelayedChannel> MakeState(const RelayParty& from, const NodeId& to);
  void Erase(const Key& key, const RelayParty& to);

  const Options options_;
  absl::flat_hash_map<Key, Channel> channels_;
  absl::flat_hash_map<RelayParty, std::vector<Key>> opened_by_;
  absl::flat_hash_map<Pair, std::shared_ptr<RelayQuota>> pairs_;
  RelayQuota total_;
  std::array<uint64_t, kRelayVerdicts> counts_{};
  uint64_t bytes_ = 0;
};

}  // namespace omni
