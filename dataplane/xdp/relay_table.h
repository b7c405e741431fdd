// SPDX-License-Identifier: Apache-2.0
// RelayTable: which channels of others XDP sends on, from where and to where (bpf/relay.h): what
// the hub opens, the addresses of its peers and the ways out that HopFinder has found, put together
// into entries of the steering program. The hub calls it with its lock held, the main thread brings
// hops; nothing here waits for anything but map updates:
// one a channel, and one for each of all channels when an interface changes.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "bpf/steer_abi.h"
#include "dataplane/hub/channel_watch.h"
#include "dataplane/xdp/hop_finder.h"

namespace omni {

// The maps of the steering program. False: there is no room.
class RelayMaps {
 public:
  virtual ~RelayMaps() = default;
  virtual bool AddRelayWindow(ChannelId id) = 0;  // one that has seen nothing
  virtual void RemoveRelayWindow(ChannelId id) = 0;
  virtual bool PutRelay(ChannelId id, const omni_steer_relay& relay) = 0;
  virtual void RemoveRelay(ChannelId id) = 0;
};

// How XDP sends by an interface where the frame came in: back through the driver, or by a redirect
// to itself. A veth puts frames of XDP_TX on its other end's ring and wakes it only if that has XDP
// (Linux 6.18); redirected ones arrive with GRO there as well.
enum class RelayExit : uint8_t { kTransmit, kRedirect };

class RelayTable {
 public:
  using Hops = std::map<HopKey, HopFinder::Found>;

  // The maps outlive the table.
  explicit RelayTable(RelayMaps& maps) : maps_(maps) {}

  void SetLimits(const std::optional<RelayLimits>& limits);
  void Open(const RelayWatch::Opening& opening);
  void Close(ChannelId id);
  void Move(PeerIndex peer, const UdpPath& path);

  // The ways that are needed: those that came up since the last call, and all.
  std::set<HopKey> TakeFresh();
  std::set<HopKey> Wanted() const;
  // `hops`: what was found of them. `exits`: the interfaces by which XDP may send. Where a way is
  // missing, or leads elsewhere, XDP judges what comes and user space sends it.
  using Exits = std::map<uint32_t, RelayExit>;
  void SetHops(const Hops& hops, const Exits& exits);

  struct Size {
    size_t channels = 0;
    size_t sent_on = 0;  // of them, by XDP
  };
  Size size() const;

 private:
  struct Route {
    RelayWatch::Opening opening;
    std::optional<omni_steer_relay> written;
  };
  struct Peer {
    UdpPath path;
    absl::flat_hash_set<ChannelId> channels;  // to or from it
  };

  static HopKey KeyOf(const UdpPath& path) {
    return {path.remote, path.local.value_or(IpAddress())};
  }
  void Want(const UdpPath& path);
  void Refresh(ChannelId id, Route& route);
  std::optional<omni_steer_relay> EntryOf(const RelayWatch::Opening& opening) const;
  void Leave(PeerIndex index, ChannelId id);

  RelayMaps& maps_;
  mutable std::mutex mutex_;  // of all below
  RelayLimits limits_;
  absl::flat_hash_map<ChannelId, Route> routes_;
  absl::flat_hash_map<PeerIndex, Peer> peers_;  // of routes alone
  struct Way {
    HopFinder::Found hop;
    RelayExit exit = RelayExit::kTransmit;
    friend bool operator==(const Way&, const Way&) = default;
  };
  absl::flat_hash_map<HopKey, Way> ways_;
  std::set<HopKey> fresh_;
};

}  // namespace omni
