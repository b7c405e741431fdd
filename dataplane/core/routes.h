// SPDX-License-Identifier: Apache-2.0
// RouteTable: which peer an inner address belongs to, by longest prefix. Immutable once built, so
// that all workers share one table and a change is a new table sent through their mailboxes. Serves
// both directions: where to send, and whether a source belongs to the peer that sent it.
//
// One hash map per prefix length that occurs, asked from long to short. A mesh has very few lengths
// (host routes and a handful of subnets), so a lookup is one to three probes whatever the number of
// peers.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/ip.h"

namespace omni {

// Number of a peer in the tables of hub and workers. Reused after the peer is gone.
using PeerIndex = uint32_t;
inline constexpr PeerIndex kNoPeer = UINT32_MAX;

class RouteTable {
 public:
  struct Entry {
    IpPrefix prefix;
    PeerIndex peer = kNoPeer;
  };

  RouteTable() = default;
  // When a prefix occurs twice the later one holds; the hub refuses such a state before it comes
  // here.
  explicit RouteTable(const std::vector<Entry>& entries);

  // kNoPeer when no prefix covers `address`.
  PeerIndex Lookup(const IpAddress& address) const;

 private:
  struct Key {
    uint64_t high = 0;
    uint64_t low = 0;
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& k) {
      return H::combine(std::move(h), k.high, k.low);
    }
  };
  struct Level {
    int length = 0;
    Key mask;
    absl::flat_hash_map<Key, PeerIndex> peers;
  };

  static Key KeyOf(const IpAddress& address);
  static Key MaskOf(int length);
  std::vector<Level>& LevelsOf(IpFamily family) { return family == IpFamily::kV4 ? v4_ : v6_; }

  std::vector<Level> v4_;  // by length, longest first
  std::vector<Level> v6_;
};

}  // namespace omni
