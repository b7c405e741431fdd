// SPDX-License-Identifier: Apache-2.0
// What Prometheus gets of a Nucleus: the one list of its metrics. Called on the loop.
#pragma once

#include <prometheus/metric_family.h>

#include <cstdint>
#include <vector>

#include "nucleus/server/server.h"

namespace omni {

struct DatagramCounters {
  uint64_t received = 0;
  uint64_t sent = 0;
  uint64_t send_failures = 0;
};

std::vector<prometheus::MetricFamily> CollectNucleusMetrics(const NucleusServer& server,
                                                            const DatagramCounters& datagrams);

}  // namespace omni
