// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/path_switch.h"

#include <utility>

#include "common/log.h"

namespace omni {

PathSwitch::PathSwitch(const PathSettings& start, XdpPath& xdp, KernelPath* kernel,
                       std::vector<Worker*> workers)
    : start_(start), xdp_(xdp), kernel_(kernel), workers_(std::move(workers)), settings_(start) {
  for (Worker* worker : workers_) worker->SetPolling(start.polling);
}

void PathSwitch::SetWishes(const PathWishes& wishes) {
  const std::lock_guard lock(mutex_);
  const PathSettings wanted = wishes.On(start_);
  if (wanted == settings_) return;
  spdlog::info("paths: path {}, xdp {}, in-kernel {} up to {} bytes, polling {}",
               ToText(wanted.path), ToText(wanted.xdp), ToText(wanted.in_kernel),
               wanted.in_kernel_threshold, ToText(wanted.polling));
  xdp_.SetSettings(wanted);
  if (kernel_ != nullptr) {
    kernel_->SetThreshold(wanted.in_kernel == InKernel::kOff ? 0 : wanted.in_kernel_threshold);
  }
  for (Worker* worker : workers_) worker->SetPolling(wanted.polling);
  settings_ = wanted;
}

PathControl::Way PathSwitch::WayTo(const UdpPath& path) const {
  const XdpPath::State way = xdp_.WayTo(path);
  return {.name = way.name, .why = way.reason};
}

PathSettings PathSwitch::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

}  // namespace omni
