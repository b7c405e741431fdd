// SPDX-License-Identifier: Apache-2.0
#include "nucleus/config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "common/file.h"
#include "common/status.h"
#include "common/toml/checks.h"
#include "common/toml/table_reader.h"
#include "signal/record/allocation.h"
#include "signal/record/record.h"

namespace omni {
namespace {

// LIMIT: some 10,000 clusters.
constexpr size_t kMaxConfigBytes = size_t{1} << 20U;

void ReadNucleus(TableReader reader, NucleusConfig& config) {
  reader.String("state_dir", config.state_dir, CheckPath);
  std::vector<Endpoint> listen;
  reader.Strings("listen", [&listen](const std::string& text) -> std::string {
    const auto endpoint = Endpoint::Parse(text);
    if (!endpoint) {
      return fmt::format("\"{}\" is not IP:PORT, such as 0.0.0.0:51900 or [::]:51900", text);
    }
    if (std::ranges::find(listen, *endpoint) != listen.end()) {
      return fmt::format("{} is listed twice", text);
    }
    listen.push_back(*endpoint);
    return "";
  });
  if (!listen.empty()) config.listen = std::move(listen);
  int64_t second = config.second_port;
  reader.Integer("second_port", 0, 65535, second);
  config.second_port = static_cast<uint16_t>(second);
  const bool same = std::ranges::any_of(
      config.listen, [&](const Endpoint& at) { return at.port == config.second_port; });
  if (same) reader.Report("second_port", "is the first one, too (nucleus.listen)");
  int64_t connections = config.max_connections;
  int64_t nodes = config.nodes_per_cluster;
  int64_t days = std::chrono::duration_cast<std::chrono::hours>(config.retention).count() / 24;
  reader.Integer("max_connections", 1, 1'000'000, connections);
  reader.Integer("nodes_per_cluster", 1, 1'000'000, nodes);
  reader.Integer("retention_days", 1, 3650, days);
  config.max_connections = static_cast<uint32_t>(connections);
  config.nodes_per_cluster = static_cast<uint32_t>(nodes);
  config.retention = std::chrono::hours(days * 24);
  reader.ReportUnknownKeys();
}

void ReadRelay(TableReader reader, NucleusConfig& config) {
  reader.Megabits("pair_mbit", 0, 100'000, config.relay_pair_bytes);
  reader.Megabits("total_mbit", 1, 1'000'000, config.relay_total_bytes);
  reader.ReportUnknownKeys();
}

// LIMIT: PlaceOf() of the leases needs room, and a machine's network wider than that is a mistake.
bool IsPoolLength(const IpPrefix& pool) {
  return pool.address.is_v4() ? pool.length >= 8 && pool.length <= 30
                              : pool.length >= 32 && pool.length <= 120;
}

void ReadPools(TableReader& reader, std::vector<IpPrefix>& pools) {
  reader.Strings("pools", [&pools](const std::string& text) -> std::string {
    const auto pool = IpPrefix::Parse(text);
    if (!pool) return fmt::format("\"{}\" is not ADDRESS/LENGTH without host bits", text);
    // What nodes accept, so that a pool that none of them takes is an error here and not there.
    if (!IsPrivateNetwork(*pool)) {
      return text +
             " is not part of a private network: 10.0.0.0/8, 100.64.0.0/10, 172.16.0.0/12, "
             "192.168.0.0/16 or fc00::/7";
    }
    if (!IsPoolLength(*pool)) {
      return text + " has another length than 8-30 (IPv4) or 32-120 (IPv6)";
    }
    const bool second = std::ranges::any_of(
        pools, [&](const IpPrefix& p) { return p.address.family == pool->address.family; });
    if (second) return text + " is the second pool of its family";
    pools.push_back(*pool);
    return "";
  });
}

void ReadCluster(TableReader reader, NucleusConfig& config) {
  std::string name;
  std::string unused;
  std::optional<ClusterKey> key;
  std::optional<ClusterKey> accepted;
  std::vector<IpPrefix> pools;
  reader.String("name", name, [&config](const std::string& v) -> std::string {
    if (!IsNodeName(v)) return fmt::format("\"{}\" is not 1-63 characters of a-z, 0-9 and -", v);
    const bool known =
        std::ranges::any_of(config.clusters, [&](const auto& c) { return c.name == v; });
    return known ? fmt::format("\"{}\" is also the name of another cluster", v) : "";
  });
  const auto read_key = [&config](const std::string& text, std::optional<ClusterKey>& into) {
    auto parsed = ClusterKey::Parse(text);
    if (!parsed.ok()) return std::string(Message(parsed.status()));
    const bool known = std::ranges::any_of(config.clusters, [&](const auto& c) {
      return std::ranges::find(c.keys, *parsed) != c.keys.end();
    });
    if (known) return std::string("is also a key of another cluster");
    into = *parsed;
    return std::string();
  };
  reader.String("key", unused, [&](const std::string& text) { return read_key(text, key); });
  reader.String("accepted_key", unused, [&](const std::string& text) {
    std::string cause = read_key(text, accepted);
    return cause.empty() && accepted == key ? "is also the cluster's key" : cause;
  });
  ReadPools(reader, pools);
  for (const char* required : {"name", "key"}) reader.Require(required);
  reader.ReportUnknownKeys();
  if (key) {
    std::vector<ClusterKey> keys = {*key};
    if (accepted) keys.push_back(*accepted);
    config.clusters.push_back(
        {.name = std::move(name), .keys = std::move(keys), .pools = std::move(pools)});
  }
}

}  // namespace

absl::StatusOr<NucleusConfig> ParseNucleusConfig(std::string_view text, const std::string& file) {
  Problems problems(file);
  const std::optional<toml::table> document = ParseToml(text, problems);
  if (!document) return problems.ToStatus();
  NucleusConfig config;
  config.file = file;
  TableReader root(problems, "", *document);
  if (const toml::table* table = root.Table("nucleus")) {
    ReadNucleus(TableReader(problems, "nucleus", *table), config);
  }
  if (const toml::table* table = root.Table("relay")) {
    ReadRelay(TableReader(problems, "relay", *table), config);
  }
  if (const toml::table* table = root.Table("metrics")) {
    TableReader reader(problems, "metrics", *table);
    reader.String("listen", config.metrics_listen, CheckListen);
    reader.ReportUnknownKeys();
  }
  if (const toml::table* table = root.Table("log")) {
    TableReader reader(problems, "log", *table);
    reader.String("level", config.log_level, CheckLogLevel);
    reader.ReportUnknownKeys();
  }
  const auto clusters = root.Tables("clusters");
  if (clusters.empty()) root.Require("clusters");
  for (const toml::table* cluster : clusters) {
    ReadCluster(TableReader(problems, "clusters", *cluster), config);
  }
  root.ReportUnknownKeys();
  if (absl::Status status = problems.ToStatus(); !status.ok()) return status;
  return config;
}

absl::StatusOr<NucleusConfig> LoadNucleusConfig(const std::string& file) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kMaxConfigBytes, FileAccess::kAny));
  return ParseNucleusConfig(text, file);
}

}  // namespace omni
