// SPDX-License-Identifier: Apache-2.0
#include "common/toml/table_reader.h"

#include <fmt/format.h>

#include <algorithm>

namespace omni {
namespace {

int LineOfNode(const toml::node& node) {
  return std::max(1, static_cast<int>(node.source().begin.line));
}

std::string_view TypeName(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a number with a fraction";
    case toml::node_type::boolean:
      return "a boolean";
    default:
      return "a date or time";
  }
}

}  // namespace

void Problems::Add(int line, std::string_view key, std::string_view cause) {
  problems_.push_back({line, fmt::format("{}:{}: {}: {}", file_, line, key, cause)});
}

absl::Status Problems::ToStatus() const {
  if (problems_.empty()) return absl::OkStatus();
  std::vector<Problem> sorted = problems_;
  std::ranges::stable_sort(sorted, {}, &Problem::line);
  std::string text;
  for (const Problem& problem : sorted) {
    if (!text.empty()) text += '\n';
    text += problem.text;
  }
  return absl::InvalidArgumentError(text);
}

std::optional<toml::table> ParseToml(std::string_view text, Problems& problems) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    // The library throws; nothing else here does. Duplicate keys are among what it refuses.
    problems.Add(std::max(1, static_cast<int>(error.source().begin.line)), "syntax",
                 error.description());
    return std::nullopt;
  }
}

TableReader::TableReader(Problems& problems, std::string path, const toml::table& table)
    : problems_(problems), path_(std::move(path)), table_(table), line_(LineOfNode(table)) {}

std::string TableReader::PathOf(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const toml::node* TableReader::Find(std::string_view key) {
  asked_.emplace(key);
  return table_.get(key);
}

int TableReader::LineOf(std::string_view key) const {
  const toml::node* node = table_.get(key);
  return node == nullptr ? line_ : LineOfNode(*node);
}

void TableReader::Report(std::string_view key, std::string_view cause) {
  problems_.Add(LineOf(key), PathOf(key), cause);
}

const toml::table* TableReader::Table(std::string_view key) {
  const toml::node* node = Find(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table()) {
    Report(key, fmt::format("must be a table, written [{}]; is {}", key, TypeName(*node)));
  }
  return node->as_table();
}

std::vector<const toml::table*> TableReader::Tables(std::string_view key) {
  const toml::node* node = Find(key);
  std::vector<const toml::table*> out;
  if (node == nullptr) return out;
  if (!node->is_array()) {
    Report(key,
           fmt::format("must be an array of tables, written [[{}]]; is {}", key, TypeName(*node)));
    return out;
  }
  for (const toml::node& element : *node->as_array()) {
    if (element.is_table()) {
      out.push_back(element.as_table());
    } else {
      problems_.Add(LineOfNode(element), PathOf(key),
                    fmt::format("must hold tables; holds {}", TypeName(element)));
    }
  }
  return out;
}

void TableReader::String(std::string_view key, std::string& into, const StringCheck& check) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  if (!node->is_string()) {
    Report(key, fmt::format("must be a string; is {}", TypeName(*node)));
    return;
  }
  const std::string& value = node->as_string()->get();
  if (const std::string cause = check(value); !cause.empty()) {
    Report(key, cause);
    return;
  }
  into = value;
  return;
}

void TableReader::Integer(std::string_view key, int64_t min, int64_t max, int64_t& into) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  if (!node->is_integer()) {
    Report(key, fmt::format("must be an integer; is {}", TypeName(*node)));
    return;
  }
  const int64_t value = node->as_integer()->get();
  if (value < min || value > max) {
    Report(key, fmt::format("{} is not within {}-{}", value, min, max));
    return;
  }
  into = value;
  return;
}

void TableReader::IntegerOr(std::string_view key, std::string_view word, int64_t min, int64_t max,
                            int64_t& into) {
  const toml::node* node = Find(key);
  if (node == nullptr || !node->is_string()) return Integer(key, min, max, into);
  const std::string& value = node->as_string()->get();
  if (value != word) {
    Report(key, fmt::format("must be an integer or \"{}\"; is \"{}\"", word, value));
  }
}

void TableReader::Megabits(std::string_view key, int64_t min, int64_t max, uint64_t& bytes_per_s) {
  constexpr uint64_t kBytesPerMbit = 125'000;
  auto mbit = static_cast<int64_t>(bytes_per_s / kBytesPerMbit);
  Integer(key, min, max, mbit);
  bytes_per_s = static_cast<uint64_t>(mbit) * kBytesPerMbit;
}

void TableReader::Strings(std::string_view key, const StringCheck& take) {
  const toml::node* node = Find(key);
  if (node == nullptr) return;
  if (!node->is_array()) {
    Report(key, fmt::format("must be an array of strings; is {}", TypeName(*node)));
    return;
  }
  if (node->as_array()->empty()) Report(key, "must hold at least one");
  size_t index = 0;
  for (const toml::node& element : *node->as_array()) {
    const std::string cause = element.is_string()
                                  ? take(element.as_string()->get())
                                  : fmt::format("must be a string; is {}", TypeName(element));
    if (!cause.empty()) {
      problems_.Add(LineOfNode(element), fmt::format("{}[{}]", PathOf(key), index), cause);
    }
    ++index;
  }
}

void TableReader::Require(std::string_view key) {
  if (table_.get(key) == nullptr) problems_.Add(line_, PathOf(key), "is required");
}

void TableReader::ReportUnknownKeys() {
  for (const auto& [key, node] : table_) {
    if (asked_.contains(key.str())) continue;
    // A key's own place: a sub-table that was never written has none.
    const int line = static_cast<int>(key.source().begin.line);
    problems_.Add(line > 0 ? line : LineOfNode(node), PathOf(key.str()), "unknown key");
  }
}

}  // namespace omni
