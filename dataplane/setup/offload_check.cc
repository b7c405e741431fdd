// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/offload_check.h"

#include <fmt/format.h>

#include <sstream>

#include "common/status.h"
#include "dataplane/setup/private_network.h"

namespace omni {
namespace {

// LIMIT: the test takes some milliseconds; on a machine that is busy starting, more.
constexpr Duration kLimit = std::chrono::seconds(2);

KernelOffload OffloadAt(size_t index) { return static_cast<KernelOffload>(index); }

// One line an offload: 1 or 0, reason.
std::string Encode(const OffloadFindings& findings) {
  std::string out;
  for (size_t i = 0; i < kOffloads; ++i) {
    const OffloadFinding& finding = findings[OffloadAt(i)];
    out += fmt::format("{}{}\n", finding.active ? 1 : 0, finding.reason);
  }
  return out;
}

OffloadFindings Decode(const std::string& text) {
  OffloadFindings out;
  std::istringstream lines(text);
  std::string line;
  for (size_t i = 0; i < kOffloads && std::getline(lines, line); ++i) {
    out[OffloadAt(i)] = {.active = line.starts_with('1'), .reason = line.substr(1)};
  }
  return out;
}

OffloadFindings CheckAll() {
  const auto told = RunInPrivateNetwork(
      [] {
        OffloadFindings found;
        CheckUdpOffloads(found);
        CheckTunOffloads(found);
        return Encode(found);
      },
      kLimit);
  if (told.ok()) return Decode(*told);
  OffloadFindings found;
  CheckUdpOffloads(found);
  const std::string why = fmt::format("not tested: {}", Message(told.status()));
  for (const KernelOffload offload :
       {KernelOffload::kTunTso, KernelOffload::kTunUso, KernelOffload::kTunTcpCoalescing,
        KernelOffload::kTunUdpCoalescing}) {
    found[offload].reason = why;
  }
  return found;
}

}  // namespace

void CheckResult::Add(const absl::Status& status) {
  if (status.ok()) {
    passed_ = true;
  } else if (absl::IsUnavailable(status)) {
    missing_ = status;
  } else {
    failure_.Update(status);
  }
}

OffloadFinding CheckResult::Finding() const {
  if (!failure_.ok()) {
    return {.active = false, .reason = fmt::format("failed: {}", Message(failure_))};
  }
  if (passed_) return {.active = true, .reason = "self-test passed"};
  return {.active = true, .reason = fmt::format("not tested: {}", Message(missing_))};
}

OffloadFindings CheckOffloads(const std::set<KernelOffload>& disabled) {
  OffloadFindings out = CheckAll();
  for (const KernelOffload offload : disabled) {
    out[offload] = {.active = false, .reason = "switched off"};
  }
  return out;
}

}  // namespace omni
