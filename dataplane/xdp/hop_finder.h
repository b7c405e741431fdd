// SPDX-License-Identifier: Apache-2.0
// HopFinder: how the kernel would send to a peer, down to the Ethernet addresses: route, interface,
// VLAN and neighbour, through rtnetlink. What it cannot tell, the kernel's sockets send, and
// resolve by that. Owned by XdpPath; one thread at a time.
#pragma once

#include <netlink/socket.h>

#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/xdp/host_links.h"
#include "dataplane/xdp/port_plan.h"

struct nl_cache;

namespace omni {

class HopFinder {
 public:
  static absl::StatusOr<HopFinder> Open(uint16_t listen_port);

  // Reads the neighbours of now. `interfaces`: those of now.
  void Refresh(std::vector<HostInterface> interfaces);

  struct Found {
    uint32_t interface = 0;  // that the frames leave by, below a VLAN
    uint32_t mtu = 0;
    FrameAddresses addresses;

    friend bool operator==(const Found&, const Found&) = default;
  };
  // No value: the neighbour is not known, the route leads nowhere or not over Ethernet, or the
  // local address is not one of the interface's.
  std::optional<Found> Find(const HopKey& key);

  // Has the kernel confirm the neighbours that Find() gave since Refresh() and that it has not
  // heard of for a while: it does not see that they are used.
  void KeepNeighbours();

 private:
  struct SocketDeleter {
    void operator()(nl_sock* socket) const { nl_socket_free(socket); }
  };
  struct CacheDeleter {
    void operator()(nl_cache* cache) const;
  };
  struct Route {
    uint32_t interface = 0;
    IpAddress gateway;  // or the peer itself
    std::optional<IpAddress> source;
  };
  struct Stale {
    uint32_t interface = 0;
    IpAddress address;
    friend auto operator<=>(const Stale&, const Stale&) = default;
  };

  HopFinder(nl_sock* socket, uint16_t listen_port) : socket_(socket), port_(listen_port) {}
  std::optional<Route> FindRoute(const Endpoint& remote);
  std::optional<MacAddress> FindNeighbour(uint32_t interface, const IpAddress& address);
  const HostInterface* FindInterface(uint32_t index) const;

  std::unique_ptr<nl_sock, SocketDeleter> socket_;
  uint16_t port_;
  std::unique_ptr<nl_cache, CacheDeleter> neighbours_;
  std::vector<HostInterface> interfaces_;
  std::set<Stale> stale_;
};

}  // namespace omni
