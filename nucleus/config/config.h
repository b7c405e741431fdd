// SPDX-License-Identifier: Apache-2.0
// The configuration file of omni-nucleus as plain values. Strict, as the controller's: an unknown,
// duplicate, mistyped or invalid key is an error "FILE:LINE: key.path: cause", and all of them are
// listed. Used by main().
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/identity/cluster.h"
#include "common/ip.h"

namespace omni {

struct NucleusConfig {
  struct Cluster {
    std::string name;
    std::vector<ClusterKey> keys;  // the present one, and perhaps one more that is accepted
    std::vector<IpPrefix> pools;   // of addresses to give to nodes: at most one of each family
  };
  std::string file;
  std::string state_dir = "/var/lib/omni-nucleus";
  // One socket each; all on the one port that nodes are told.
  std::vector<Endpoint> listen = {*Endpoint::Parse("0.0.0.0:51900"),
                                  *Endpoint::Parse("[::]:51900")};
  uint16_t second_port = 51901;  // of STUN, on the same addresses; 0: none
  uint32_t max_connections = 20'000;
  uint32_t nodes_per_cluster = 10'000;
  std::chrono::hours retention{30 * 24};
  uint64_t relay_pair_bytes = 12'500'000;         // a second, each way; 0: no relay
  uint64_t relay_total_bytes = 125'000'000;       // a second
  std::string metrics_listen = "127.0.0.1:9478";  // empty: off
  std::string log_level = "info";
  std::vector<Cluster> clusters;

  std::string identity_dir() const { return state_dir + "/identity"; }
  std::string registry_file() const { return state_dir + "/registry.db"; }
};

// INVALID_ARGUMENT whose message holds every error, one a line.
absl::StatusOr<NucleusConfig> ParseNucleusConfig(std::string_view text, const std::string& file);
absl::StatusOr<NucleusConfig> LoadNucleusConfig(const std::string& file);

}  // namespace omni
