// SPDX-License-Identifier: Apache-2.0
#include "nucleus/config/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "common/file.h"
#include "common/status.h"
#include "common/toml/checks.h"
#include "common/toml/table_reader.h"
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

void ReadCluster(TableReader reader, NucleusConfig& config) {
  std::string name;
  std::string unused;
  std::optional<ClusterKey> key;
  reader.String("name", name, [&config](const std::string& v) -> std::string {
    if (!IsNodeName(v)) return fmt::format("\"{}\" is not 1-63 characters of a-z, 0-9 and -", v);
    const bool known =
        std::ranges::any_of(config.clusters, [&](const auto& c) { return c.name == v; });
    return known ? fmt::format("\"{}\" is also the name of another cluster", v) : "";
  });
  reader.String("key", unused, [&](const std::string& text) -> std::string {
    auto parsed = ClusterKey::Parse(text);
    if (!parsed.ok()) return std::string(Message(parsed.status()));
    const bool known =
        std::ranges::any_of(config.clusters, [&](const auto& c) { return c.key == *parsed; });
    if (known) return "is also the key of another cluster";
    key = *parsed;
    return "";
  });
  for (const char* required : {"name", "key"}) reader.Require(required);
  reader.ReportUnknownKeys();
  if (key) config.clusters.push_back({.name = std::move(name), .key = *key});
}

}  // namespace

absl::StatusOr<NucleusConfig> ParseNucleusConfig(std::string_view text, const std::string& file) {
  Problems problems(file);
  toml::table document;
  try {
    document = toml::parse(text);
  } catch (const toml::parse_error& error) {
    // The library throws; nothing else here does. Duplicate keys are among what it refuses.
    problems.Add(std::max(1, static_cast<int>(error.source().begin.line)), "syntax",
                 error.description());
    return problems.ToStatus();
  }
  NucleusConfig config;
  config.file = file;
  TableReader root(problems, "", document);
  if (const toml::table* table = root.Table("nucleus")) {
    ReadNucleus(TableReader(problems, "nucleus", *table), config);
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
