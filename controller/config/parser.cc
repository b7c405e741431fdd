// SPDX-License-Identifier: Apache-2.0
// TOML into Config. Reads in the order of the file's sections; what concerns several peers at once
// is checked at the end.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "common/cipher.h"
#include "common/status.h"
#include "common/toml/checks.h"
#include "common/toml/table_reader.h"
#include "controller/config/config.h"

namespace omni {
namespace {

// LIMIT: sun_path of unix(7) holds 108 bytes with the terminating zero.
constexpr size_t kMaxSocketPath = 107;

constexpr std::pair<std::string_view, CipherPolicy> kCipherPolicies[] = {
    {"auto", CipherPolicy::kAuto},
    {CipherName(Cipher::kChaCha20Poly1305), CipherPolicy::kChaCha20Poly1305},
    {CipherName(Cipher::kAes256Gcm), CipherPolicy::kAes256Gcm}};

std::string CheckSocketPath(const std::string& path) {
  if (path.size() > kMaxSocketPath) {
    return fmt::format("a socket path has at most {} bytes; this one has {}", kMaxSocketPath,
                       path.size());
  }
  return CheckPath(path);
}

std::string CheckOwnAddress(const InterfaceAddress& address) {
  const IpAddress zero = MaskTo(address.address, 0);
  const bool multicast = address.address.is_v4() ? (address.address.bytes[0] & 0xf0) == 0xe0
                                                 : address.address.bytes[0] == 0xff;
  if (address.address == zero || multicast) return "is not an address of a single machine";
  return "";
}

void NoteLines(const TableReader& reader, std::string_view section,
               std::initializer_list<const char*> keys, Config& config) {
  for (const char* key : keys) {
    config.lines.emplace(fmt::format("{}.{}", section, key), reader.LineOf(key));
  }
}

void ReadNode(TableReader reader, Config& config) {
  reader.String("name", config.name, [](const std::string& v) { return CheckPeerName(v); });
  reader.String("identity_dir", config.identity_dir, CheckPath);
  reader.String("cluster_secret_file", config.cluster_secret_file, CheckPath);
  reader.String("accepted_secret_file", config.accepted_secret_file, CheckPath);
  reader.Strings("addresses", [&config](const std::string& text) -> std::string {
    if (config.auto_addresses) return "stands beside \"auto\", which stands alone";
    if (text == "auto") {
      if (!config.addresses.empty()) return "\"auto\" stands alone";
      config.auto_addresses = true;
      return "";
    }
    const auto address = InterfaceAddress::Parse(text);
    if (!address) {
      return fmt::format("\"{}\" is not ADDRESS/LENGTH, such as 10.77.0.1/24, nor \"auto\"", text);
    }
    if (std::string cause = CheckOwnAddress(*address); !cause.empty()) return cause;
    const bool known = std::ranges::any_of(
        config.addresses, [&](const auto& a) { return a.address == address->address; });
    if (known) return fmt::format("{} is listed twice", address->address.ToString());
    config.addresses.push_back(*address);
    return "";
  });
  int64_t mtu = config.mtu;
  reader.IntegerOr("mtu", "auto", 1280, 65475, mtu);
  config.mtu = static_cast<uint32_t>(mtu);
  reader.String("state_dir", config.state_dir, CheckPath);
  for (const char* key : {"name", "cluster_secret_file", "addresses"}) reader.Require(key);
  NoteLines(
      reader, "node",
      {"addresses", "identity_dir", "cluster_secret_file", "accepted_secret_file", "state_dir"},
      config);
  reader.ReportUnknownKeys();
}

void ReadSession(TableReader reader, Config& config) {
  int64_t rekey = config.session.rekey_after.count();
  int64_t reject = config.session.reject_after.count();
  // LIMIT: never longer than WireGuard's (whitepaper section 6.1).
  reader.Integer("rekey_after_s", 5, 120, rekey);
  reader.Integer("reject_after_s", 15, 180, reject);
  if (reject < rekey + 10) {
    reader.Report("reject_after_s", fmt::format("must be at least rekey_after_s ({}) + 10, so that "
                                                "a new session is there before the old one ends",
                                                rekey));
  }
  std::string unused;
  reader.String("cipher", unused, [&config](const std::string& text) -> std::string {
    for (const auto& [name, policy] : kCipherPolicies) {
      if (text != name) continue;
      config.session.cipher = policy;
      return "";
    }
    return fmt::format("\"{}\" is not one of auto, chacha20-poly1305, aes-256-gcm", text);
  });
  config.session.rekey_after = std::chrono::seconds(rekey);
  config.session.reject_after = std::chrono::seconds(reject);
  reader.ReportUnknownKeys();
}

// Prefixes of an array of strings.
void ReadPrefixes(TableReader& reader, std::string_view key, std::vector<IpPrefix>& into) {
  reader.Strings(key, [&into](const std::string& text) -> std::string {
    const auto prefix = IpPrefix::Parse(text);
    if (!prefix) return fmt::format("\"{}\" is not ADDRESS/LENGTH without host bits", text);
    if (std::ranges::find(into, *prefix) != into.end()) return text + " is listed twice";
    // LIMIT: as many as a node record holds (proto/omni/signal/v1).
    if (into.size() >= 64) return "has more than 64 entries";
    into.push_back(*prefix);
    return "";
  });
}

// A word that `parse` understands.
template <typename T>
void ReadWord(TableReader& reader, std::string_view key, std::optional<T>& into,
              absl::StatusOr<T> (*parse)(std::string_view)) {
  std::string unused;
  reader.String(key, unused, [&into, parse](const std::string& text) -> std::string {
    const auto parsed = parse(text);
    if (!parsed.ok()) return std::string(Message(parsed.status()));
    into = *parsed;
    return "";
  });
}

// One of two words: `on`, or "off". `into` is a bool, or an optional one that is unset without the
// key.
template <typename Bool>
void ReadSwitch(TableReader& reader, std::string_view key, std::string_view on, Bool& into) {
  std::string unused;
  reader.String(key, unused, [&into, on](const std::string& text) -> std::string {
    if (text != on && text != "off") return fmt::format("must be \"{}\" or \"off\"", on);
    into = text == on;
    return "";
  });
}

void ReadNucleus(TableReader reader, Config& config) {
  DiscoveryConfig& nucleus = config.nucleus;
  std::string unused;
  reader.Strings("addresses", [&nucleus](const std::string& text) -> std::string {
    const auto address = HostPort::Parse(text);
    if (!address) {
      return fmt::format("\"{}\" is not HOST:PORT, such as nucleus.example.org:51900", text);
    }
    nucleus.addresses.push_back(*address);
    return "";
  });
  reader.String("id", unused, [&nucleus](const std::string& text) -> std::string {
    nucleus.id = NodeId::Parse(text);
    return nucleus.id ? "" : "is not 32 lower-case hex digits, as omni-nucleus prints its id";
  });
  ReadPrefixes(reader, "routes", nucleus.routes);
  ReadPrefixes(reader, "accept_routes", nucleus.accept_routes);
  ReadSwitch(reader, "port_mapping", "auto", nucleus.port_mapping);
  ReadSwitch(reader, "port_search", "on", nucleus.port_search);
  reader.Require("addresses");
  NoteLines(reader, "nucleus",
            {"addresses", "id", "routes", "accept_routes", "port_mapping", "port_search"}, config);
  reader.ReportUnknownKeys();
}

void ReadDiscovery(TableReader reader, Config& config) {
  ReadSwitch(reader, "beacons", "on", config.beacons);
  NoteLines(reader, "discovery", {"beacons"}, config);
  reader.ReportUnknownKeys();
}

void ReadRelay(TableReader reader, Config& config) {
  RelayConfig& relay = config.relay;
  ReadSwitch(reader, "for_peers", "on", relay.for_peers);
  reader.Megabits("pair_mbit", 1, 100'000, relay.limits.pair_bytes_per_s);
  reader.Megabits("total_mbit", 1, 1'000'000, relay.limits.total_bytes_per_s);
  NoteLines(reader, "relay", {"for_peers"}, config);
  reader.ReportUnknownKeys();
}

void ReadPaths(TableReader reader, PathWishes& paths) {
  ReadWord(reader, "path", paths.path, ParsePathChoices);
  ReadWord(reader, "xdp", paths.xdp, ParseXdpChoices);
  ReadWord(reader, "in_kernel", paths.in_kernel, ParseInKernel);
  int64_t threshold = -1;
  reader.Integer("in_kernel_threshold", 0, kMaxInKernelThreshold, threshold);
  if (threshold >= 0) paths.in_kernel_threshold = static_cast<uint32_t>(threshold);
  ReadWord(reader, "polling", paths.polling, ParsePolling);
  reader.ReportUnknownKeys();
}

void ReadOthers(TableReader& root, Problems& problems, Config& config) {
  if (const toml::table* table = root.Table("dataplane")) {
    TableReader reader(problems, "dataplane", *table);
    reader.String("socket", config.dataplane_socket, CheckSocketPath);
    NoteLines(reader, "dataplane", {"socket"}, config);
    reader.ReportUnknownKeys();
  }
  if (const toml::table* table = root.Table("api")) {
    TableReader reader(problems, "api", *table);
    reader.String("socket", config.api_socket, CheckSocketPath);
    reader.String("group", config.api_group, AnyString);
    NoteLines(reader, "api", {"socket", "group"}, config);
    reader.ReportUnknownKeys();
  }
  if (const toml::table* table = root.Table("metrics")) {
    TableReader reader(problems, "metrics", *table);
    reader.String("listen", config.metrics_listen, CheckListen);
    NoteLines(reader, "metrics", {"listen"}, config);
    reader.ReportUnknownKeys();
  }
  if (const toml::table* table = root.Table("log")) {
    TableReader reader(problems, "log", *table);
    reader.String("level", config.log_level, CheckLogLevel);
    reader.ReportUnknownKeys();
  }
  if (const toml::table* table = root.Table("nucleus")) {
    ReadNucleus(TableReader(problems, "nucleus", *table), config);
  }
  if (const toml::table* table = root.Table("discovery")) {
    ReadDiscovery(TableReader(problems, "discovery", *table), config);
  }
  if (const toml::table* table = root.Table("relay")) {
    ReadRelay(TableReader(problems, "relay", *table), config);
  }
  if (const toml::table* table = root.Table("paths")) {
    ReadPaths(TableReader(problems, "paths", *table), config.paths);
  }
  if (const toml::table* table = root.Table("session")) {
    ReadSession(TableReader(problems, "session", *table), config);
  }
}

void ReadPeer(TableReader reader, Config& config) {
  std::string name;
  std::string psk_file;
  std::string unused;
  std::optional<PeerKey> key;
  Endpoint endpoint;
  std::vector<IpPrefix> allowed;
  int64_t keepalive = 0;
  reader.String("name", name, [](const std::string& v) { return CheckPeerName(v); });
  reader.String("key", unused, [&key](const std::string& text) -> std::string {
    auto parsed = PeerKey::Parse(text);
    if (!parsed.ok()) return std::string(Message(parsed.status()));
    key = *parsed;
    return "";
  });
  reader.String("endpoint", unused, [&endpoint](const std::string& text) -> std::string {
    const auto parsed = Endpoint::Parse(text);
    if (!parsed) {
      return fmt::format("\"{}\" is not IP:PORT, such as 192.0.2.7:51900 or [2001:db8::7]:51900",
                         text);
    }
    endpoint = *parsed;
    return CheckEndpoint(endpoint);
  });
  reader.Strings("allowed", [&](const std::string& text) -> std::string {
    const auto prefix = IpPrefix::Parse(text);
    if (!prefix) {
      return fmt::format("\"{}\" is not ADDRESS/LENGTH without host bits, such as 10.77.0.2/32",
                         text);
    }
    if (allowed.size() >= kMaxAllowedPerPeer) {
      return fmt::format("a peer has at most {} prefixes", kMaxAllowedPerPeer);
    }
    allowed.push_back(*prefix);
    return CheckAllowed(*prefix, config.addresses);
  });
  reader.String("psk_file", psk_file, CheckPath);
  reader.Integer("keepalive", 0, 65535, keepalive);
  for (const char* required : {"name", "key", "allowed"}) reader.Require(required);
  reader.ReportUnknownKeys();
  if (!key) return;  // reported above
  config.peers.push_back({.spec = {.name = std::move(name),
                                   .key = *key,
                                   .endpoint = endpoint,
                                   .allowed = std::move(allowed),
                                   .psk = std::nullopt,
                                   .keepalive_s = static_cast<uint16_t>(keepalive)},
                          .psk_file = std::move(psk_file),
                          .line = reader.line(),
                          .psk_line = reader.LineOf("psk_file")});
}

// What no two peers may share.
void CheckAcrossPeers(const Config& config, Problems& problems) {
  std::map<std::string, const PeerConfig*> names;
  std::map<NodeId, const PeerConfig*> ids;
  // An identity can sign a static key that is not its own.
  std::map<std::array<uint8_t, 32>, const PeerConfig*> static_keys;
  std::map<IpPrefix, const PeerConfig*> prefixes;
  for (const PeerConfig& peer : config.peers) {
    const auto [name, new_name] = names.try_emplace(peer.spec.name, &peer);
    if (!new_name && !peer.spec.name.empty()) {
      problems.Add(peer.line, "peers.name",
                   fmt::format("\"{}\" is also the name of the peer in line {}", peer.spec.name,
                               name->second->line));
    }
    const auto [id, new_id] = ids.try_emplace(peer.spec.key.node_id(), &peer);
    const auto [key, new_key] = static_keys.try_emplace(peer.spec.key.static_public(), &peer);
    if (new_id && !new_key) {
      problems.Add(peer.line, "peers.key",
                   fmt::format("its static key is that of the peer in line {}", key->second->line));
    }
    if (!new_id) {
      problems.Add(peer.line, "peers.key",
                   fmt::format("is also the key of the peer in line {}", id->second->line));
    }
    for (const IpPrefix& prefix : peer.spec.allowed) {
      const auto [holder, new_prefix] = prefixes.try_emplace(prefix, &peer);
      if (!new_prefix) {
        problems.Add(peer.line, "peers.allowed",
                     fmt::format("{} also belongs to the peer in line {}", prefix.ToString(),
                                 holder->second->line));
      }
    }
  }
}

}  // namespace

absl::StatusOr<Config> ParseConfig(std::string_view text, const std::string& file) {
  Problems problems(file);
  const std::optional<toml::table> document = ParseToml(text, problems);
  if (!document) return problems.ToStatus();
  Config config;
  config.file = file;
  TableReader root(problems, "", *document);
  if (const toml::table* node = root.Table("node")) {
    ReadNode(TableReader(problems, "node", *node), config);
  } else {
    root.Require("node");
  }
  ReadOthers(root, problems, config);
  // With beacons, what a Nucleus once gave is kept.
  if (config.auto_addresses && config.nucleus.addresses.empty() && !config.WantsBeacons()) {
    problems.Add(config.lines["node.addresses"], "node.addresses",
                 "\"auto\" needs a Nucleus that gives addresses: [nucleus]");
  }
  if (config.relay.for_peers && config.nucleus.addresses.empty() && !config.WantsBeacons()) {
    problems.Add(config.lines["relay.for_peers"], "relay.for_peers",
                 "\"on\" needs others who can ask for it: [nucleus], or beacons in [discovery]");
  }
  for (const toml::table* peer : root.Tables("peers")) {
    ReadPeer(TableReader(problems, "peers", *peer), config);
  }
  root.ReportUnknownKeys();
  CheckAcrossPeers(config, problems);
  if (absl::Status status = problems.ToStatus(); !status.ok()) return status;
  return config;
}

}  // namespace omni
