// SPDX-License-Identifier: Apache-2.0
// Metrics: what Prometheus scrapes, on an HTTP listener of its own threads. A scrape asks the event
// loop and waits a bounded time; the loop never waits for a scrape. Owned by main(); destroy it
// while the loop still runs.
#pragma once

#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>

#include <memory>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "absl/status/statusor.h"
#include "controller/core/controller.h"

namespace omni {

// All metrics as of now. `counters` is nullptr while the dataplane cannot tell. On the loop.
std::vector<prometheus::MetricFamily> CollectMetrics(
    const Controller& controller, const dataplane::v1::GetCountersResponse* counters);

class MetricsServer {
 public:
  // Serves http://`listen`/metrics.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(boost::asio::io_context& loop,
                                                              Controller& controller,
                                                              const std::string& listen);

 private:
  MetricsServer() = default;
  std::shared_ptr<prometheus::Collectable> source_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace omni
