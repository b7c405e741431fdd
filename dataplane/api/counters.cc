// SPDX-License-Identifier: Apache-2.0
// Everything that is counted, as messages.
#include <fmt/format.h>

#include "bpf/kernel_abi.h"
#include "common/encoding.h"
#include "dataplane/api/convert.h"
#include "dataplane/api/service.h"

namespace omni {
namespace {

struct KernelCounterInfo {
  std::string_view name;
  std::string_view help;
};
constexpr KernelCounterInfo kKernelCounters[] = {
#define OMNI_KERNEL_INFO(name, text) {#name, text},
    OMNI_KERNEL_COUNTERS(OMNI_KERNEL_INFO)
#undef OMNI_KERNEL_INFO
};

void AddCounter(v1::Counter* out, std::string_view name, std::string_view help, uint64_t value) {
  out->set_name(std::string(name));
  out->set_help(std::string(help));
  out->set_value(value);
}

struct WorkerCounterInfo {
  std::string_view name;
  std::string_view help;
  Counter64 WorkerCounters::*counter;
};
constexpr WorkerCounterInfo kWorkerCounters[] = {
    {"wakeups", "times a worker was woken", &WorkerCounters::wakeups},
    {"rx_messages", "messages received from the UDP port", &WorkerCounters::rx_messages},
    {"tun_reads", "packets and super-packets read from the TUN", &WorkerCounters::tun_reads},
    {"control_datagrams", "datagrams that were no session data",
     &WorkerCounters::control_datagrams},
    {"handovers", "datagrams handed to the worker of their channel", &WorkerCounters::handovers},
};

struct RelayCounterInfo {
  std::string_view name;
  std::string_view help;
  Counter64 RelayCounters::*counter;
  uint64_t RelayTraffic::*at_xdp;
};
constexpr RelayCounterInfo kRelayCounters[] = {
    {"relayed_packets", "datagrams sent on from one peer to another, by workers or by XDP",
     &RelayCounters::packets, &RelayTraffic::packets},
    {"relayed_bytes", "bytes in them", &RelayCounters::bytes, &RelayTraffic::bytes},
};

void AddUnlessZero(v1::CounterGroup& group, std::string_view name, uint64_t value) {
  if (value != 0) AddCounter(group.add_counters(), name, "", value);
}

}  // namespace

grpc::Status DataplaneService::GetCounters(grpc::ServerContext*,
                                           const v1::GetCountersRequest* request,
                                           v1::GetCountersResponse* response) {
  response->set_boot_id(AsString(boot_id_));
  for (const PeerTotals& totals : hub_.GetPeerTotals(Now())) {
    *response->add_peers() = WriteTotals(totals);
  }
  const std::vector<uint64_t> kernel = hub_.GetKernelCounters();
  const std::vector<uint64_t> xdp = info_.drops();
  for (size_t i = 0; i < kDropReasons; ++i) {
    uint64_t sum = (kernel.empty() ? 0 : kernel[i]) + (xdp.empty() ? 0 : xdp[i]);
    for (const Worker* worker : workers_) sum += worker->drops().value(static_cast<DropReason>(i));
    AddCounter(response->add_drops(), kDropReasonInfo[i].name, kDropReasonInfo[i].help, sum);
  }
  for (const auto& [name, help, counter] : kWorkerCounters) {
    uint64_t sum = 0;
    for (const Worker* worker : workers_) sum += (worker->counters().*counter).value();
    AddCounter(response->add_workers(), name, help, sum);
  }
  const RelayTraffic relayed = hub_.GetRelayedAtXdp();
  for (const auto& [name, help, counter, at_xdp] : kRelayCounters) {
    uint64_t sum = relayed.*at_xdp;
    for (const Worker* worker : workers_) sum += (worker->relayed().*counter).value();
    AddCounter(response->add_workers(), name, help, sum);
  }
  AddCounter(response->add_workers(), "ignored_packet_out", "invalid packet_out messages",
             hub_.ignored_packet_out());
  for (const DataplaneInfo::Counted& counted : info_.counters()) {
    AddCounter(response->add_workers(), counted.name, counted.help, counted.value);
  }
  for (size_t i = kDropReasons; i < kernel.size(); ++i) {
    const KernelCounterInfo& counter = kKernelCounters[i - kDropReasons];
    AddCounter(response->add_workers(), counter.name, counter.help, kernel[i]);
  }
  FillTraffic(kernel, *response);
  if (request->groups()) FillGroups(*response);
  return grpc::Status::OK;
}

void DataplaneService::FillTraffic(const std::vector<uint64_t>& kernel,
                                   v1::GetCountersResponse& response) const {
  const auto add = [&response](const DataplaneInfo::Traffic& from) {
    v1::PathTraffic& out = *response.add_paths();
    out.set_path(std::string(from.path));
    out.set_tx_packets(from.tx_packets);
    out.set_tx_bytes(from.tx_bytes);
    out.set_rx_packets(from.rx_packets);
    out.set_rx_bytes(from.rx_bytes);
  };
  if (!kernel.empty()) {
    // The kernel counts inner bytes.
    const uint64_t tx = kernel[OMNI_COUNT_kernel_tx];
    const uint64_t rx = kernel[OMNI_COUNT_kernel_rx] + kernel[OMNI_COUNT_kernel_rx_slow];
    add({.path = "kernel",
         .tx_packets = tx,
         .tx_bytes = kernel[OMNI_COUNT_kernel_tx_bytes] + tx * OMNI_DATA_OVERHEAD,
         .rx_packets = rx,
         .rx_bytes = kernel[OMNI_COUNT_kernel_rx_bytes] + rx * OMNI_DATA_OVERHEAD});
  }
  for (const DataplaneInfo::Traffic& traffic : info_.traffic()) add(traffic);
}

void DataplaneService::FillGroups(v1::GetCountersResponse& response) const {
  for (size_t i = 0; i < workers_.size(); ++i) {
    v1::CounterGroup& group = *response.add_groups();
    group.set_name(fmt::format("worker {}", i));
    for (const auto& [name, help, counter] : kWorkerCounters) {
      AddUnlessZero(group, name, (workers_[i]->counters().*counter).value());
    }
    for (const auto& [name, help, counter, at_xdp] : kRelayCounters) {
      AddUnlessZero(group, name, (workers_[i]->relayed().*counter).value());
    }
    for (size_t reason = 0; reason < kDropReasons; ++reason) {
      AddUnlessZero(group, kDropReasonInfo[reason].name,
                    workers_[i]->drops().value(static_cast<DropReason>(reason)));
    }
  }
  const auto kernel = hub_.GetKernelCountersByCpu();
  for (size_t cpu = 0; cpu < kernel.size(); ++cpu) {
    v1::CounterGroup& group = *response.add_groups();
    group.set_name(fmt::format("kernel cpu {}", cpu));
    for (size_t i = 0; i < kernel[cpu].size(); ++i) {
      const std::string_view name =
          i < kDropReasons ? kDropReasonInfo[i].name : kKernelCounters[i - kDropReasons].name;
      AddUnlessZero(group, name, kernel[cpu][i]);
    }
  }
  const auto xdp = info_.counters_by_cpu();
  for (size_t cpu = 0; cpu < xdp.size(); ++cpu) {
    v1::CounterGroup& group = *response.add_groups();
    group.set_name(fmt::format("xdp cpu {}", cpu));
    for (const auto& [name, help, value] : xdp[cpu]) AddUnlessZero(group, name, value);
  }
}

}  // namespace omni
