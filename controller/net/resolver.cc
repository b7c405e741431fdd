// SPDX-License-Identifier: Apache-2.0
#include "controller/net/resolver.h"

#include <fmt/format.h>

#include <algorithm>

namespace omni {

struct Resolver::Round {
  std::vector<std::pair<std::string, uint16_t>> hosts;
  Done done;
  size_t at = 0;
  std::vector<Endpoint> found;
  std::string error;
};

void Resolver::Resolve(std::vector<std::pair<std::string, uint16_t>> hosts, Done done) {
  auto round = std::make_shared<Round>();
  round->hosts = std::move(hosts);
  round->done = std::move(done);
  Next(std::move(round));
}

void Resolver::Next(std::shared_ptr<Round> round) {
  const auto& [host, port] = round->hosts[round->at];
  resolver_.async_resolve(
      host, std::to_string(port), boost::asio::ip::udp::resolver::numeric_service,
      [this, round](const boost::system::error_code& error, const auto& results) {
        if (error == boost::asio::error::operation_aborted) return;
        if (error) {
          round->error =
              fmt::format("resolve {}: {}", round->hosts[round->at].first, error.message());
        }
        for (const auto& entry : results) {
          const auto endpoint = Endpoint::FromSockaddr(entry.endpoint().data());
          const bool is_new =
              endpoint && std::ranges::find(round->found, *endpoint) == round->found.end();
          if (is_new) round->found.push_back(*endpoint);
        }
        if (++round->at < round->hosts.size()) return Next(round);
        if (!round->found.empty()) return round->done(std::move(round->found));
        round->done(absl::UnavailableError(round->error));
      });
}

}  // namespace omni
