// SPDX-License-Identifier: Apache-2.0
#include "cli/print.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <array>
#include <ostream>
#include <set>
#include <utility>

namespace omni {

Table::Table(std::vector<std::string> header, std::vector<std::string> right)
    : right_(std::move(right)) {
  rows_.push_back(std::move(header));
}

void Table::Add(std::vector<std::string> row) {
  row.resize(rows_.front().size());
  for (std::string& cell : row) {
    if (cell.empty()) cell = "-";
  }
  rows_.push_back(std::move(row));
}

void Table::Print(std::ostream& out) const {
  const size_t columns = rows_.front().size();
  std::vector<size_t> widths(columns, 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < columns; ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows_) {
    std::string line;
    for (size_t i = 0; i < columns; ++i) {
      if (i > 0) line += "  ";
      const bool right = std::find(right_.begin(), right_.end(), rows_.front()[i]) != right_.end();
      line += right ? fmt::format("{:>{}}", row[i], widths[i])
                    : fmt::format("{:<{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  }
}

void PrintFields(std::ostream& out,
                 const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [name, value] : fields) {
    if (!value.empty()) width = std::max(width, name.size() + 1);
  }
  for (const auto& [name, value] : fields) {
    if (!value.empty()) out << fmt::format("{:<{}}  {}\n", name + ":", width, value);
  }
}

namespace {

enum class Layout { kLines, kOneLine };

std::string JsonOf(const google::protobuf::Message& message, Layout layout) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = layout == Layout::kLines;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Fails only for Any and for durations out of range; both cannot come from our messages.
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok()) return "{}\n";
  if (json.empty() || json.back() != '\n') json += '\n';
  return json;
}

}  // namespace

std::string ToJson(const google::protobuf::Message& message) {
  return JsonOf(message, Layout::kLines);
}

std::string ToJsonLine(const google::protobuf::Message& message) {
  return JsonOf(message, Layout::kOneLine);
}

void PrintJson(std::ostream& out, const google::protobuf::Message& message) {
  out << ToJson(message);
}

std::string HumanBytes(uint64_t bytes) {
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.95 would be printed as 1024.0.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string HumanAge(const google::protobuf::Duration& age) {
  const int64_t s = age.seconds();
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m {}s", s / 60, s % 60);
  if (s < 86400) return fmt::format("{}h {}m", s / 3600, s % 3600 / 60);
  return fmt::format("{}d {}h", s / 86400, s % 86400 / 3600);
}

std::string HumanRtt(const google::protobuf::Duration& rtt) {
  const double ms = std::chrono::duration<double, std::milli>(FromProto(rtt)).count();
  return fmt::format("{:.{}f} ms", ms, ms < 10 ? 2 : 1);
}

std::string HumanTime(int64_t seconds) {
  // LIMIT: the year 9999: a clock that is wrong must not make the library throw.
  return fmt::format("{:%Y-%m-%d %H:%M:%S} UTC",
                     fmt::gmtime(std::clamp<int64_t>(seconds, 0, 253'402'300'799)));
}

google::protobuf::Duration ToProto(std::chrono::nanoseconds duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(duration.count() / 1'000'000'000);
  proto.set_nanos(static_cast<int32_t>(duration.count() % 1'000'000'000));
  return proto;
}

std::chrono::nanoseconds FromProto(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) + std::chrono::nanoseconds(duration.nanos());
}

std::string DescribeBeacons(const control::v1::Mesh& mesh) {
  if (!mesh.beacons()) return "off";
  std::set<std::string> nodes;
  for (const auto& neighbour : mesh.neighbours()) nodes.insert(neighbour.node_id());
  return fmt::format("on, {} neighbour{}", nodes.size(), nodes.size() == 1 ? "" : "s");
}

}  // namespace omni
