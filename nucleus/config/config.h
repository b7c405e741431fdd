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
    ClusterKey key;
  };
  std::string file;
  std::string state_dir = "/var/lib/omni-nucleus";
  // One socket each; all on the one port that nodes are told.
  std::vector<Endpoint> listen = {*Endpoint::Parse("0.0.0.0:51900"),
                                  *Endpoint::Parse("[::]:51900")};
  uint32_t max_connections = 20'000;
  uint32_t nodes_per_cluster = 10'000;
  std::chrono::hours retention{30 * 24};
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
