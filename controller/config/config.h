// SPDX-License-Identifier: Apache-2.0
// The controller's configuration file as plain values. ParseConfig() is strict: an unknown,
// duplicate, mistyped or invalid key is an error "FILE:LINE: key.path: cause", and all of them are
// listed, one a line. ReadSecrets() then reads the files that it names. Pure but for ReadSecrets()
// and LoadConfig(); called by main() and, for a reload, on the event loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/identity/cluster.h"
#include "common/identity/identity.h"
#include "common/ip.h"
#include "common/paths.h"
#include "common/relay/relay.h"
#include "common/secret.h"

namespace omni {

// A peer as somebody wants it, from the file or from the API.
struct PeerSpec {
  std::string name;
  PeerKey key;
  Endpoint endpoint;  // unset: the peer must call
  std::vector<IpPrefix> allowed;
  std::optional<Key32> psk;
  uint16_t keepalive_s = 0;

  PeerSpec Clone() const;
};
bool operator==(const PeerSpec& a, const PeerSpec& b);

struct PeerConfig {
  PeerSpec spec;
  std::string psk_file;  // empty: none
  int line = 0;          // of [[peers]]
  int psk_line = 0;
};

// What is offered to peers besides ChaCha20-Poly1305.
enum class CipherPolicy : uint8_t {
  kAuto,              // AES-256-GCM where the dataplane measured it faster
  kChaCha20Poly1305,  // nothing
  kAes256Gcm,         // AES-256-GCM wherever the dataplane has it
};

struct SessionConfig {
  std::chrono::seconds rekey_after{120};
  std::chrono::seconds reject_after{180};
  CipherPolicy cipher = CipherPolicy::kAuto;
  friend bool operator==(const SessionConfig&, const SessionConfig&) = default;
};

// A name or address and a port, as people write it.
struct HostPort {
  std::string host;
  uint16_t port = 0;
  // "nucleus.example.org:51900", "192.0.2.1:51900", "[2001:db8::1]:51900".
  static std::optional<HostPort> Parse(std::string_view text);
  std::string ToString() const;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

// How this node finds others, and they it. Without addresses: not at all.
struct DiscoveryConfig {
  std::vector<HostPort> addresses;
  std::optional<NodeId> id;             // of the Nucleus; unset: whoever has the cluster key
  std::vector<IpPrefix> routes;         // networks behind this node
  std::vector<IpPrefix> accept_routes;  // of others, what lies in one of these
  bool port_mapping = true;             // ask the router for a port
  bool port_search = false;             // try the ports of hard NATs
  friend bool operator==(const DiscoveryConfig&, const DiscoveryConfig&) = default;
};

// Whether this node passes on what its peers cannot send each other, and how much of it.
struct RelayConfig {
  bool for_peers = false;
  // LIMIT: some video of a few robots; a node has other things to do than a Nucleus.
  RelayLimits limits{.pair_bytes_per_s = 6'250'000, .total_bytes_per_s = 25'000'000};
  friend bool operator==(const RelayConfig&, const RelayConfig&) = default;
};

struct Config {
  std::string file;

  // Whether the node says on its links that it is there, and hears others: as configured, else
  // where there is a Nucleus. A node whose peers all stand in its configuration has said whom it
  // talks to.
  bool WantsBeacons() const { return beacons.value_or(!nucleus.addresses.empty()); }

  std::string name;
  std::string identity_dir = "/var/lib/omni/identity";
  std::string cluster_secret_file;
  std::string accepted_secret_file;  // of one more secret; empty: none
  std::vector<InterfaceAddress> addresses;
  bool auto_addresses = false;  // the Nucleus gives them: `addresses` is what it gave
  uint32_t mtu = 0;             // of the TUN; 0: the dataplane chooses
  std::string state_dir = "/var/lib/omni";

  std::string dataplane_socket = "/run/omni-dataplane/dataplane.sock";
  std::string api_socket = "/run/omni/controller.sock";
  std::string api_group;                          // empty: only root and the controller's own user
  std::string metrics_listen = "127.0.0.1:9477";  // empty: off
  std::string log_level = "info";
  SessionConfig session;
  DiscoveryConfig nucleus;
  std::optional<bool> beacons;
  RelayConfig relay;
  PathWishes paths;  // of packets; unset: as the dataplane was started
  std::vector<PeerConfig> peers;

  std::map<std::string, int> lines;  // of keys that later checks may find wrong
};

// LIMIT: 4 MiB, some 15,000 peers; more come by the API.
inline constexpr size_t kMaxConfigBytes = size_t{4} << 20;

// INVALID_ARGUMENT whose message holds every error, one a line.
absl::StatusOr<Config> ParseConfig(std::string_view text, const std::string& file);
// Reads and parses `file`.
absl::StatusOr<Config> LoadConfig(const std::string& file);

// Fills PeerSpec::psk of each peer from its psk_file.
absl::Status ReadPairSecrets(Config& config);
// What cluster_secret_file and accepted_secret_file hold, without their trailing newlines, as keys;
// `former` as of ClusterKeyring::Make().
absl::StatusOr<ClusterKeyring> ReadClusterSecrets(const Config& config,
                                                  const ClusterKeyring* former = nullptr);
// An error for each peer that is this very node.
absl::Status CheckAgainstIdentity(const Config& config, const NodeId& self);

// What is wrong with a single value, or empty: shared with the API.
std::string CheckPeerName(std::string_view name);
std::string CheckAllowed(const IpPrefix& prefix, const std::vector<InterfaceAddress>& own);
std::string CheckEndpoint(const Endpoint& endpoint);
// LIMIT: what the dataplane announces as allowed_per_peer is checked there as well.
inline constexpr size_t kMaxAllowedPerPeer = 1024;

// Keys that differ and cannot change while the controller runs: an error that names each and says
// "restart".
absl::Status CheckReloadable(const Config& running, const Config& wanted);

}  // namespace omni
