// SPDX-License-Identifier: Apache-2.0
#include "nucleus/registry/leases.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

namespace omni {
namespace {

// LIMIT: places that depend on the node alone: while a pool is half empty, eight are enough in all
// but one case of 256, and a registry that was lost gives most nodes what they had.
constexpr uint64_t kOwnPlaces = 64;
// LIMIT: then this many in a row, so that a pool of up to 4,096 is used to its last address, and a
// larger one that somebody filled costs no more than 100 microseconds.
constexpr uint64_t kRowPlaces = 4096;

// How many addresses the pool has; IPv6 pools are used for their first 2^48.
uint64_t SizeOf(const IpPrefix& pool) {
  return uint64_t{1} << std::min(48, pool.address.bits() - pool.length);
}

IpAddress AddressAt(const IpPrefix& pool, uint64_t index) {
  IpAddress address = pool.address;
  for (int at = pool.address.bits() / 8 - 1; index != 0; --at, index >>= 8U) {
    address.bytes[static_cast<size_t>(at)] |= static_cast<uint8_t>(index);
  }
  return address;
}

uint64_t PlaceOf(const NodeId& node, uint64_t attempt) {
  uint8_t key[crypto_shorthash_KEYBYTES] = {};
  std::memcpy(key, &attempt, sizeof(attempt));
  uint64_t place = 0;
  static_assert(sizeof(place) == crypto_shorthash_BYTES);
  // Not secret: it only spreads nodes. SAFETY: written as its eight bytes.
  crypto_shorthash(reinterpret_cast<uint8_t*>(&place), node.bytes.data(), node.bytes.size(), key);
  return place;
}

std::optional<IpAddress> FindFree(const IpPrefix& pool, const NodeId& node,
                                  const std::function<bool(const IpAddress&)>& is_free) {
  const uint64_t size = SizeOf(pool);
  for (uint64_t i = 0; i < kOwnPlaces; ++i) {
    const IpAddress address = AddressAt(pool, PlaceOf(node, i) % size);
    if (is_free(address)) return address;
  }
  const uint64_t start = PlaceOf(node, 0) % size;
  for (uint64_t i = 0; i < std::min(size, kRowPlaces); ++i) {
    const IpAddress address = AddressAt(pool, (start + i) % size);
    if (is_free(address)) return address;
  }
  return std::nullopt;
}

}  // namespace

bool IsAssignable(const IpPrefix& pool, const IpAddress& address) {
  if (!pool.Contains(address) || address == pool.address) return false;
  if (!address.is_v4()) return true;
  uint32_t host = 0;
  for (const uint8_t byte : address.raw()) host = host << 8U | byte;
  const uint32_t host_bits =
      pool.length == 0 ? ~uint32_t{0} : (uint32_t{1} << (32U - pool.length)) - 1;
  return (host & host_bits) != host_bits;
}

Leases::Grant Leases::Allocate(const NodeId& node, std::span<const IpAddress> wanted,
                               const std::function<bool(const IpAddress&)>& is_taken) {
  Grant grant;
  for (const IpPrefix& pool : pools_) {
    if (const IpAddress* held = HeldIn(pool, node)) {
      grant.addresses.push_back({.address = *held, .length = pool.length});
      continue;
    }
    const auto is_free = [&](const IpAddress& address) {
      return IsAssignable(pool, address) && !holders_.contains(address) && !is_taken(address);
    };
    const auto wish = std::find_if(wanted.begin(), wanted.end(), is_free);
    const std::optional<IpAddress> found =
        wish != wanted.end() ? *wish : FindFree(pool, node, is_free);
    if (!found) continue;
    holders_.emplace(*found, node);
    held_[node].push_back(*found);
    grant.addresses.push_back({.address = *found, .length = pool.length});
    grant.added.push_back(*found);
  }
  return grant;
}

std::vector<IpAddress> Leases::Release(const NodeId& node) {
  const auto held = held_.extract(node);
  if (held.empty()) return {};
  for (const IpAddress& address : held.mapped()) holders_.erase(address);
  return held.mapped();
}

bool Leases::Restore(const IpAddress& address, const NodeId& node) {
  const IpPrefix* pool = PoolOf(address);
  if (pool == nullptr || holders_.contains(address) || HeldIn(*pool, node) != nullptr) return false;
  holders_.emplace(address, node);
  held_[node].push_back(address);
  return true;
}

const NodeId* Leases::HolderOf(const IpAddress& address) const {
  const auto found = holders_.find(address);
  return found == holders_.end() ? nullptr : &found->second;
}

const IpAddress* Leases::HeldIn(const IpPrefix& pool, const NodeId& node) const {
  const auto held = held_.find(node);
  if (held == held_.end()) return nullptr;
  for (const IpAddress& address : held->second) {
    if (pool.Contains(address)) return &address;
  }
  return nullptr;
}

const IpPrefix* Leases::PoolOf(const IpAddress& address) const {
  for (const IpPrefix& pool : pools_) {
    if (IsAssignable(pool, address)) return &pool;
  }
  return nullptr;
}

}  // namespace omni
