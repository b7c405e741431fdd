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
#include "common/identity/identity.h"
#include "common/ip.h"
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

struct Config {
  std::string file;

  std::string name;
  std::string identity_dir = "/var/lib/omni/identity";
  std::string cluster_secret_file;
  std::vector<InterfaceAddress> addresses;
  uint32_t mtu = 0;  // of the TUN; 0: the dataplane chooses
  std::string state_dir = "/var/lib/omni";

  std::string dataplane_socket = "/run/omni-dataplane/dataplane.sock";
  std::string api_socket = "/run/omni/controller.sock";
  std::string api_group;                          // empty: only root and the controller's own user
  std::string metrics_listen = "127.0.0.1:9477";  // empty: off
  std::string log_level = "info";
  SessionConfig session;
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
// The content of cluster_secret_file without its trailing newline.
absl::StatusOr<std::string> ReadClusterSecret(const Config& config);
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
