// SPDX-License-Identifier: Apache-2.0
// Leases: which addresses of a cluster's pools the Nucleus has given to which node. One address of
// each pool to a node; the same ones whenever it asks, until it releases them. Bounded work,
// however full a pool is and whoever filled it. Pure: the Registry keeps it on disk. Owned by the
// Registry.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/ip.h"
#include "common/node_id.h"

namespace omni {

// Whether a machine can have the address: it lies in the pool, and is neither the pool's network or
// broadcast address (IPv4) nor its subnet-router anycast address (IPv6).
bool IsAssignable(const IpPrefix& pool, const IpAddress& address);

class Leases {
 public:
  // At most one pool of each family, with at least two assignable addresses.
  explicit Leases(std::vector<IpPrefix> pools) : pools_(std::move(pools)) {}

  struct Grant {
    std::vector<InterfaceAddress> addresses;  // all that the node has now
    std::vector<IpAddress> added;             // of those, what it did not have before
  };
  // `wanted`: what the node would like where it is free. `is_taken` is asked about addresses that
  // others may have without a lease.
  Grant Allocate(const NodeId& node, std::span<const IpAddress> wanted,
                 const std::function<bool(const IpAddress&)>& is_taken);
  // What the node had.
  std::vector<IpAddress> Release(const NodeId& node);
  // A lease of a former life. False: the pools are others now, or it contradicts one that is known.
  bool Restore(const IpAddress& address, const NodeId& node);

  // nullptr: nobody.
  const NodeId* HolderOf(const IpAddress& address) const;
  size_t size() const { return holders_.size(); }
  const std::vector<IpPrefix>& pools() const { return pools_; }

 private:
  const IpAddress* HeldIn(const IpPrefix& pool, const NodeId& node) const;
  const IpPrefix* PoolOf(const IpAddress& address) const;

  const std::vector<IpPrefix> pools_;
  absl::flat_hash_map<IpAddress, NodeId> holders_;
  absl::flat_hash_map<NodeId, std::vector<IpAddress>> held_;
};

}  // namespace omni
