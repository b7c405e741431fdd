// SPDX-License-Identifier: Apache-2.0
// Per-CPU counters of BPF programs: an array map of numbers, one a CPU and entry. Reading needs no
// privilege once the map is open.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cstdint>
#include <vector>

namespace omni {

// By CPU, then by entry; what cannot be read is zero.
inline std::vector<std::vector<uint64_t>> ReadPerCpu(int map, uint32_t entries) {
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return {};
  std::vector<std::vector<uint64_t>> out(static_cast<size_t>(cpus));
  for (auto& counters : out) counters.resize(entries);
  std::vector<uint64_t> values(out.size());
  for (uint32_t i = 0; i < entries; ++i) {
    if (bpf_map_lookup_elem(map, &i, values.data()) != 0) continue;
    for (size_t cpu = 0; cpu < values.size(); ++cpu) out[cpu][i] = values[cpu];
  }
  return out;
}

inline std::vector<uint64_t> SumOverCpus(const std::vector<std::vector<uint64_t>>& by_cpu,
                                         uint32_t entries) {
  std::vector<uint64_t> out(entries);
  for (const auto& counters : by_cpu) {
    for (uint32_t i = 0; i < entries; ++i) out[i] += counters[i];
  }
  return out;
}

}  // namespace omni
