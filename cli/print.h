// SPDX-License-Identifier: Apache-2.0
// Printing for people (aligned tables, humanised units) and for programs (proto JSON). Pure
// functions and a plain builder; used by one command at a time.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/message.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "omni/control/v1/control.pb.h"

namespace omni {

// Columns two spaces apart, as wide as their widest cell. Columns named in `right` hold numbers and
// are aligned to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> header, std::vector<std::string> right = {});
  // As many cells as the header has. An empty cell is printed as "-".
  void Add(std::vector<std::string> row);
  void Print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;  // the header first
  std::vector<std::string> right_;
};

// "Name:  value" lines with the values aligned; an empty value is left out.
void PrintFields(std::ostream& out, const std::vector<std::pair<std::string, std::string>>& fields);

// The proto3 JSON mapping with original field names and default values.
void PrintJson(std::ostream& out, const google::protobuf::Message& message);
std::string ToJson(const google::protobuf::Message& message);
// The same on one line.
std::string ToJsonLine(const google::protobuf::Message& message);

std::string HumanBytes(uint64_t bytes);                       // "1.2 MiB"
std::string HumanAge(const google::protobuf::Duration& age);  // "3m 12s", "2d 4h"
std::string HumanRtt(const google::protobuf::Duration& rtt);  // "0.14 ms"
std::string HumanTime(int64_t seconds);                       // "2026-01-31 17:05:00 UTC"

google::protobuf::Duration ToProto(std::chrono::nanoseconds duration);
std::chrono::nanoseconds FromProto(const google::protobuf::Duration& duration);

// "on, 3 neighbours", "off".
std::string DescribeBeacons(const control::v1::Mesh& mesh);

}  // namespace omni
