// SPDX-License-Identifier: Apache-2.0
#include "controller/config/config.h"

#include <fmt/format.h>

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "common/encoding.h"
#include "common/file.h"
#include "common/status.h"
#include "common/toml/table_reader.h"

namespace omni {
namespace {

// LIMIT: a secret is a line of text; 4 KiB is more than anybody types or generates.
constexpr size_t kMaxSecretBytes = 4096;
constexpr size_t kMinClusterSecretBytes = 16;

std::string_view WithoutNewline(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// A key that is absent, so that its default holds, is reported at the top of the file.
int LineOf(const Config& config, std::string_view key) {
  const auto found = config.lines.find(std::string(key));
  return found == config.lines.end() ? 1 : found->second;
}

absl::StatusOr<Key32> ReadPairPsk(const std::string& path) {
  ASSIGN_OR_RETURN(std::string content, ReadFile(path, kMaxSecretBytes, FileAccess::kOwnerOnly));
  const absl::Cleanup erase = [&content] { sodium_memzero(content.data(), content.size()); };
  const std::string_view text = WithoutNewline(content);
  auto bytes = text.size() == 64 ? HexDecode(text) : Base64Decode(text);
  if (!bytes || bytes->size() != Key32::size()) {
    return absl::InvalidArgumentError(fmt::format(
        "read {}: must hold 32 bytes as 64 hex digits or base64url without padding", path));
  }
  const absl::Cleanup erase_bytes = [&bytes] { sodium_memzero(bytes->data(), bytes->size()); };
  return Key32(std::span<const uint8_t, 32>(bytes->data(), 32));
}

}  // namespace

PeerSpec PeerSpec::Clone() const {
  PeerSpec out{.name = name,
               .key = key,
               .endpoint = endpoint,
               .allowed = allowed,
               .psk = std::nullopt,
               .keepalive_s = keepalive_s};
  if (psk) out.psk = psk->Clone();
  return out;
}

bool operator==(const PeerSpec& a, const PeerSpec& b) {
  return a.name == b.name && a.key == b.key && a.endpoint == b.endpoint && a.allowed == b.allowed &&
         a.psk == b.psk && a.keepalive_s == b.keepalive_s;
}

std::optional<HostPort> HostPort::Parse(std::string_view text) {
  if (const auto endpoint = Endpoint::Parse(text)) {
    return HostPort{.host = endpoint->address.ToString(), .port = endpoint->port};
  }
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  // An address with another port: only to have the port read and the whole checked.
  const auto port = Endpoint::Parse(fmt::format("192.0.2.1:{}", text.substr(colon + 1)));
  const std::string_view host = text.substr(0, colon);
  // LIMIT: RFC 1035 section 2.3.4.
  const bool is_name = !host.empty() && host.size() <= 253 && std::ranges::all_of(host, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
  });
  if (!port || !is_name) return std::nullopt;
  return HostPort{.host = std::string(host), .port = port->port};
}

std::string HostPort::ToString() const {
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port)
                                             : fmt::format("[{}]:{}", host, port);
}

std::string CheckPeerName(std::string_view name) {
  const bool known = std::ranges::all_of(
      name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; });
  if (name.empty() || name.size() > 63 || !known) {
    return fmt::format("\"{}\" is not 1-63 characters of a-z, 0-9 and -", name);
  }
  return "";
}

std::string CheckAllowed(const IpPrefix& prefix, const std::vector<InterfaceAddress>& own) {
  for (const InterfaceAddress& address : own) {
    if (prefix.address == address.address && prefix.length == address.address.bits()) {
      return fmt::format("{} is an address of this node", prefix.ToString());
    }
  }
  return "";
}

std::string CheckEndpoint(const Endpoint& endpoint) {
  const IpAddress& address = endpoint.address;
  const bool multicast =
      address.is_v4() ? (address.bytes[0] & 0xf0) == 0xe0 : address.bytes[0] == 0xff;
  if (multicast || address == MaskTo(address, 0)) {
    return fmt::format("{} is not an address of a single machine", address.ToString());
  }
  return "";
}

absl::StatusOr<Config> LoadConfig(const std::string& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxConfigBytes, FileAccess::kAny));
  return ParseConfig(text, file);
}

absl::Status ReadPairSecrets(Config& config) {
  Problems problems(config.file);
  for (PeerConfig& peer : config.peers) {
    if (peer.psk_file.empty()) continue;
    auto psk = ReadPairPsk(peer.psk_file);
    if (psk.ok()) {
      peer.spec.psk = *std::move(psk);
    } else {
      problems.Add(peer.psk_line, "peers.psk_file", Message(psk.status()));
    }
  }
  return problems.ToStatus();
}

absl::StatusOr<ClusterKeyring> ReadClusterSecrets(const Config& config,
                                                  const ClusterKeyring* former) {
  Problems problems(config.file);
  std::vector<std::string> secrets;
  const absl::Cleanup erase = [&secrets] {
    for (std::string& secret : secrets) sodium_memzero(secret.data(), secret.size());
  };
  const auto read = [&](const char* key, const std::string& file) {
    auto content = ReadFile(file, kMaxSecretBytes, FileAccess::kOwnerOnly);
    if (!content.ok()) {
      problems.Add(LineOf(config, key), key, Message(content.status()));
      return;
    }
    content->resize(WithoutNewline(*content).size());
    if (content->size() < kMinClusterSecretBytes) {
      problems.Add(LineOf(config, key), key,
                   fmt::format("{} holds {} bytes; a cluster secret has at least {}", file,
                               content->size(), kMinClusterSecretBytes));
    }
    secrets.push_back(*std::move(content));
  };
  read("node.cluster_secret_file", config.cluster_secret_file);
  if (!config.accepted_secret_file.empty()) {
    read("node.accepted_secret_file", config.accepted_secret_file);
  }
  RETURN_IF_ERROR(problems.ToStatus());
  auto keyring = ClusterKeyring::Make(secrets, former);
  if (keyring.ok()) return keyring;
  problems.Add(LineOf(config, "node.accepted_secret_file"), "node.accepted_secret_file",
               Message(keyring.status()));
  return problems.ToStatus();
}

absl::Status CheckAgainstIdentity(const Config& config, const NodeId& self) {
  Problems problems(config.file);
  for (const PeerConfig& peer : config.peers) {
    if (peer.spec.key.node_id() == self) {
      problems.Add(peer.line, "peers.key",
                   fmt::format("peer \"{}\" is this node itself", peer.spec.name));
    }
  }
  return problems.ToStatus();
}

absl::Status CheckReloadable(const Config& running, const Config& wanted) {
  Problems problems(wanted.file);
  const auto check = [&](std::string_view key, const std::string& a, const std::string& b) {
    if (a != b) {
      problems.Add(LineOf(wanted, key), key,
                   fmt::format("cannot change at run time (\"{}\" now): restart", a));
    }
  };
  check("node.identity_dir", running.identity_dir, wanted.identity_dir);
  if (running.auto_addresses != wanted.auto_addresses) {
    problems.Add(LineOf(wanted, "node.addresses"), "node.addresses",
                 "cannot change to or from \"auto\" at run time: restart");
  }
  check("node.state_dir", running.state_dir, wanted.state_dir);
  check("dataplane.socket", running.dataplane_socket, wanted.dataplane_socket);
  check("api.socket", running.api_socket, wanted.api_socket);
  check("api.group", running.api_group, wanted.api_group);
  check("metrics.listen", running.metrics_listen, wanted.metrics_listen);
  if (running.nucleus != wanted.nucleus) {
    problems.Add(LineOf(wanted, "nucleus.addresses"), "nucleus",
                 "cannot change at run time: restart");
  }
  if (running.WantsBeacons() != wanted.WantsBeacons()) {
    problems.Add(LineOf(wanted, "discovery.beacons"), "discovery.beacons",
                 "cannot change at run time: restart");
  }
  return problems.ToStatus();
}

}  // namespace omni
