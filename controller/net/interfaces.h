// SPDX-License-Identifier: Apache-2.0
// Addresses of this machine's interfaces, and word of their changes (rtnetlink). Needs no
// privilege. Owned by Discovery, on the event loop.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "absl/status/status.h"
#include "common/ip.h"

namespace omni {

// Of interfaces that are up, without those of `except`: IPv6 before IPv4, none twice.
std::vector<IpAddress> InterfaceAddresses(const std::string& except);

// A link on which this machine has neighbours: an interface that is up, can multicast, and is no
// loopback and no tunnel to one other.
struct NetworkLink {
  uint32_t index = 0;
  std::optional<InterfaceAddress> v4;
  std::optional<IpAddress> v6;  // link-local
  friend bool operator==(const NetworkLink&, const NetworkLink&) = default;
};
// Without `except`, and without those that have no address; by index.
std::vector<NetworkLink> NetworkLinks(const std::string& except);

class AddressWatcher {
 public:
  // Calls `changed` on the loop after addresses or links have changed; perhaps more than once, and
  // perhaps for nothing.
  AddressWatcher(boost::asio::io_context& loop, std::function<void()> changed);
  // Without it changes go unnoticed, everything else works.
  absl::Status Start();

 private:
  void Wait();

  boost::asio::posix::stream_descriptor socket_;
  std::function<void()> changed_;
};

}  // namespace omni
