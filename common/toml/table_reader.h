// SPDX-License-Identifier: Apache-2.0
// TableReader: reads one TOML table key by key and, at the end, reports each key that nobody asked
// for. Problems collects what is wrong with its place. Owned by a parser of a configuration file.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace omni {

class Problems {
 public:
  explicit Problems(std::string file) : file_(std::move(file)) {}

  void Add(int line, std::string_view key, std::string_view cause);
  // INVALID_ARGUMENT with all problems in the order of their lines, or OK.
  absl::Status ToStatus() const;

 private:
  struct Problem {
    int line = 0;
    std::string text;
  };
  std::string file_;
  std::vector<Problem> problems_;
};

// The document; none when it is no TOML, which is reported.
std::optional<toml::table> ParseToml(std::string_view text, Problems& problems);

// What a check finds wrong with a value; empty when nothing.
using StringCheck = std::function<std::string(const std::string&)>;

class TableReader {
 public:
  // `path` is empty for the whole document.
  TableReader(Problems& problems, std::string path, const toml::table& table);

  // The sub-table `key`, or nullptr (absent, or reported as no table).
  const toml::table* Table(std::string_view key);
  // The tables of [[key]]; entries that are no tables are reported.
  std::vector<const toml::table*> Tables(std::string_view key);

  // Each writes the value when it is there and right, and reports it when it is wrong.
  void String(std::string_view key, std::string& into, const StringCheck& check);
  void Integer(std::string_view key, int64_t min, int64_t max, int64_t& into);
  // The same, or `word`, which leaves the value alone.
  void IntegerOr(std::string_view key, std::string_view word, int64_t min, int64_t max,
                 int64_t& into);
  // A rate in Mbit/s, written as bytes a second.
  void Megabits(std::string_view key, int64_t min, int64_t max, uint64_t& bytes_per_s);
  // Each element of a non-empty array of strings goes through `take`, which says what is wrong with
  // it.
  void Strings(std::string_view key, const StringCheck& take);

  void Require(std::string_view key);
  void ReportUnknownKeys();

  void Report(std::string_view key, std::string_view cause);
  int LineOf(std::string_view key) const;
  int line() const { return line_; }

 private:
  std::string PathOf(std::string_view key) const;
  const toml::node* Find(std::string_view key);

  Problems& problems_;
  std::string path_;
  const toml::table& table_;
  int line_;
  std::set<std::string, std::less<>> asked_;
};

}  // namespace omni
