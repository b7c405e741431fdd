// SPDX-License-Identifier: Apache-2.0
// Names into addresses, off the event loop (getaddrinfo blocks) and back onto it. Owned by
// Discovery.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>

#include "absl/status/statusor.h"
#include "common/ip.h"

namespace omni {

class Resolver {
 public:
  explicit Resolver(boost::asio::io_context& loop) : resolver_(loop) {}

  using Done = std::function<void(absl::StatusOr<std::vector<Endpoint>>)>;
  // All addresses of all hosts, in their order, none twice. An error only when there is none at
  // all. `done` is called later, on the loop; not when the resolver is gone by then.
  void Resolve(std::vector<std::pair<std::string, uint16_t>> hosts, Done done);

 private:
  struct Round;
  void Next(std::shared_ptr<Round> round);

  boost::asio::ip::udp::resolver resolver_;
};

}  // namespace omni
