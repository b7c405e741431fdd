// SPDX-License-Identifier: Apache-2.0
#include "dataplane/io/kernel_offload.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace omni {

std::optional<KernelOffload> OffloadByName(std::string_view name) {
  std::string wanted(name);
  std::ranges::replace(wanted, '-', '_');
  const auto found = std::ranges::find(kOffloadNames, wanted);
  if (found == kOffloadNames.end()) return std::nullopt;
  return static_cast<KernelOffload>(found - kOffloadNames.begin());
}

std::vector<OffloadReport::Line> OffloadReport::Describe() const {
  std::vector<Line> out;
  for (size_t i = 0; i < kOffloads; ++i) {
    out.push_back(DescribeOne(static_cast<KernelOffload>(i)));
  }
  return out;
}

OffloadReport::Line OffloadReport::DescribeOne(KernelOffload offload) const {
  const auto index = static_cast<size_t>(offload);
  const OffloadFinding& found = found_[offload];
  Line out{
      .name = std::string(kOffloadNames[index]), .active = found.active, .reason = found.reason};
  size_t pausing = 0;
  int error = 0;
  for (const OffloadBackoff* backoff : watched_[index]) {
    out.refusals += backoff->refusals();
    pausing += backoff->is_pausing() ? 1 : 0;
    if (backoff->refusals() > 0) error = backoff->last_error();
  }
  if (out.refusals == 0) return out;
  const char* cause = std::strerror(error);
  // One worker's word is enough: the others meet the same kernel as soon as they have traffic.
  if (pausing > 0) {
    out.active = false;
    out.reason = fmt::format("failed: refused by the kernel: {}; tried again now and then", cause);
  } else {
    out.reason += fmt::format("; refused {} times, last: {}", out.refusals, cause);
  }
  return out;
}

}  // namespace omni
