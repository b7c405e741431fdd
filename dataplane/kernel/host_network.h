// SPDX-License-Identifier: Apache-2.0
// HostNetwork: the host's side of the network as the in-kernel path needs it: which interfaces
// carry datagrams, by which one a peer is reached and from which address, and whether any of it
// changed. rtnetlink without a privilege. Owned by KernelPath; one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>

#include "absl/status/statusor.h"
#include "dataplane/core/peer.h"
#include "dataplane/io/file_descriptor.h"

namespace omni {

class HostNetwork {
 public:
  static absl::StatusOr<std::unique_ptr<HostNetwork>> Open();

  // Whether links, addresses or routes changed since the last call.
  bool TakeChange();

  // Ethernet interfaces that are up and have an address.
  std::set<int> Interfaces() const;

  struct Route {
    int interface = 0;
    IpAddress source;
  };
  // How the kernel would send to `path.remote` now, from `path.local` where that is still an
  // address of ours. No value: it would not, or to this machine itself.
  std::optional<Route> Resolve(const UdpPath& path);

 private:
  HostNetwork(FileDescriptor monitor, FileDescriptor query)
      : monitor_(std::move(monitor)), query_(std::move(query)) {}
  std::optional<Route> Ask(const Endpoint& remote, const std::optional<IpAddress>& source);

  FileDescriptor monitor_;
  FileDescriptor query_;
  uint32_t sequence_ = 0;
};

}  // namespace omni
