// SPDX-License-Identifier: Apache-2.0
// Building of metric families from values that are counted elsewhere. Plain values; one thread.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

namespace omni {

using Labels = std::vector<prometheus::ClientMetric::Label>;

class Family {
 public:
  Family(std::string name, std::string help, prometheus::MetricType type)
      : family_{.name = std::move(name), .help = std::move(help), .type = type, .metric = {}} {}

  void Add(Labels labels, double value) {
    prometheus::ClientMetric metric;
    metric.label = std::move(labels);
    if (family_.type == prometheus::MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family_.metric.push_back(std::move(metric));
  }

  prometheus::MetricFamily Take() { return std::move(family_); }

 private:
  prometheus::MetricFamily family_;
};

inline prometheus::MetricFamily Single(std::string name, std::string help,
                                       prometheus::MetricType type, double value) {
  Family family(std::move(name), std::move(help), type);
  family.Add({}, value);
  return family.Take();
}

}  // namespace omni
