// SPDX-License-Identifier: Apache-2.0
// Names, help texts and values of all metrics: the one list of them.
#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <utility>

#include "common/cipher.h"
#include "common/encoding.h"
#include "controller/metrics/metrics.h"
#include "generated/version.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

// Seconds since 1970 at which this process came up, for `process_start_time_seconds`.
double StartTime() {
  static const double start =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return start;
}

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

class Family {
 public:
  Family(std::string name, std::string help, MetricType type)
      : family_{.name = std::move(name), .help = std::move(help), .type = type, .metric = {}} {}

  void Add(Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (family_.type == MetricType::Counter) {
      metric.counter.value = value;
    } else {
      metric.gauge.value = value;
    }
    family_.metric.push_back(std::move(metric));
  }

  MetricFamily Take() { return std::move(family_); }

 private:
  MetricFamily family_;
};

MetricFamily Single(std::string name, std::string help, MetricType type, double value) {
  Family family(std::move(name), std::move(help), type);
  family.Add({}, value);
  return family.Take();
}

Labels LabelsOf(const Peer& peer) {
  return {{"peer", peer.spec.name}, {"node_id", peer.id().ToString()}};
}

void AddPeers(const Controller& controller, std::vector<MetricFamily>& out) {
  Family up("omni_peer_up", "1 while a session with the peer is confirmed.", MetricType::Gauge);
  Family handshakes("omni_peer_handshakes_total", "Completed handshakes with the peer.",
                    MetricType::Counter);
  Family failures("omni_peer_handshake_failures_total",
                  "Handshakes with the peer that were refused or given up.", MetricType::Counter);
  Family age("omni_peer_last_handshake_age_seconds",
             "Time since the last completed handshake with the peer.", MetricType::Gauge);
  Family rtt("omni_peer_rtt_seconds", "Last measured round-trip time through the tunnel.",
             MetricType::Gauge);
  Family cipher("omni_peer_cipher",
                "1; the cipher of the session that sends to the peer, as a label.",
                MetricType::Gauge);
  for (const auto& [name, peer] : controller.peers()) {
    if (peer->has_confirmed_session() && peer->cipher) {
      Labels labels = LabelsOf(*peer);
      labels.push_back({"cipher", std::string(CipherName(*peer->cipher))});
      cipher.Add(std::move(labels), 1);
    }
    up.Add(LabelsOf(*peer), controller.StateOf(*peer) == PeerState::kUp ? 1 : 0);
    handshakes.Add(LabelsOf(*peer), static_cast<double>(peer->handshakes));
    failures.Add(LabelsOf(*peer), static_cast<double>(peer->handshake_failures));
    if (peer->last_handshake) {
      age.Add(LabelsOf(*peer), Seconds(controller.now() - *peer->last_handshake));
    }
    if (peer->rtt) rtt.Add(LabelsOf(*peer), Seconds(*peer->rtt));
  }
  for (Family* family : {&up, &cipher, &handshakes, &failures, &age, &rtt})
    out.push_back(family->Take());
}

void AddPeerCounters(const Controller& controller, const dp::GetCountersResponse& counters,
                     std::vector<MetricFamily>& out) {
  Family tx_bytes("omni_peer_tx_bytes_total", "Inner bytes sent to the peer.", MetricType::Counter);
  Family rx_bytes("omni_peer_rx_bytes_total", "Inner bytes received from the peer.",
                  MetricType::Counter);
  Family tx_packets("omni_peer_tx_packets_total", "Session data packets sent to the peer.",
                    MetricType::Counter);
  Family rx_packets("omni_peer_rx_packets_total",
                    "Authentic session data packets received from the peer.", MetricType::Counter);
  Family mtu("omni_peer_path_mtu_bytes",
             "Largest datagram that the path to the peer is known to carry, IP header included.",
             MetricType::Gauge);
  for (const dp::PeerCounters& entry : counters.peers()) {
    const auto id = NodeId::FromBytes(entry.peer_id());
    const Peer* peer = id ? controller.peers().Find(*id) : nullptr;
    if (peer == nullptr) continue;
    tx_bytes.Add(LabelsOf(*peer), static_cast<double>(entry.tx_bytes()));
    rx_bytes.Add(LabelsOf(*peer), static_cast<double>(entry.rx_bytes()));
    tx_packets.Add(LabelsOf(*peer), static_cast<double>(entry.tx_packets()));
    rx_packets.Add(LabelsOf(*peer), static_cast<double>(entry.rx_packets()));
    mtu.Add(LabelsOf(*peer), static_cast<double>(entry.path_mtu()));
  }
  for (Family* family : {&tx_bytes, &rx_bytes, &tx_packets, &rx_packets, &mtu}) {
    out.push_back(family->Take());
  }
}

// A counter's name as part of a metric's: the dataplane chooses it, possibly another version of it.
std::string MetricName(const std::string& name) {
  std::string out = name;
  std::ranges::replace_if(
      out, [](char c) { return !((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')); }, '_');
  return out;
}

void AddDataplaneCounters(const dp::GetCountersResponse& counters, std::vector<MetricFamily>& out) {
  Family drops("omni_drops_total", "Packets that ended otherwise than delivered, by reason.",
               MetricType::Counter);
  for (const dp::Counter& drop : counters.drops()) {
    drops.Add({{"reason", drop.name()}}, static_cast<double>(drop.value()));
  }
  out.push_back(drops.Take());
  std::map<std::string, const dp::Counter*> workers;  // no name twice
  for (const dp::Counter& counter : counters.workers()) {
    workers.emplace(MetricName(counter.name()), &counter);
  }
  for (const auto& [name, counter] : workers) {
    out.push_back(Single("omni_dataplane_" + name + "_total",
                         counter->help().empty() ? "Sum over all workers." : counter->help(),
                         MetricType::Counter, static_cast<double>(counter->value())));
  }
}

void AddFeatures(const dp::GetInfoResponse& info, std::vector<MetricFamily>& out) {
  Family active("omni_dataplane_feature_active",
                "1 while the dataplane uses this ability of the kernel; omnictl status says why.",
                MetricType::Gauge);
  Family refusals("omni_dataplane_feature_refusals_total",
                  "Times that the kernel refused an ability at run time; no packet was lost by it.",
                  MetricType::Counter);
  for (const dp::Feature& feature : info.features()) {
    active.Add({{"feature", feature.name()}}, feature.active() ? 1 : 0);
    refusals.Add({{"feature", feature.name()}}, static_cast<double>(feature.refusals()));
  }
  for (Family* family : {&active, &refusals}) out.push_back(family->Take());
}

}  // namespace

std::vector<MetricFamily> CollectMetrics(const Controller& controller,
                                         const dp::GetCountersResponse* counters) {
  std::vector<MetricFamily> out;
  Family build("omni_build_info", "The version of the controller, as a label.", MetricType::Gauge);
  build.Add({{"version", kVersion}}, 1);
  out.push_back(build.Take());
  out.push_back(Single("process_start_time_seconds",
                       "Start time of the controller since 1970, in seconds.", MetricType::Gauge,
                       StartTime()));
  out.push_back(Single("omni_dataplane_connected",
                       "1 while the dataplane is connected and in the desired state.",
                       MetricType::Gauge, controller.dataplane_view().connected ? 1 : 0));
  Family failures("omni_controller_handshake_failures_total",
                  "Handshake messages refused and handshakes given up, by reason.",
                  MetricType::Counter);
  for (const noise::FailureReason reason : kFailureReasons) {
    failures.Add({{"reason", LabelOf(reason)}},
                 static_cast<double>(controller.failures().count(reason)));
  }
  out.push_back(failures.Take());
  AddPeers(controller, out);
  if (counters != nullptr) {
    AddPeerCounters(controller, *counters, out);
    AddDataplaneCounters(*counters, out);
    AddFeatures(controller.dataplane_view().info, out);
  }
  // A family without a sample is not a thing to show.
  std::erase_if(out, [](const MetricFamily& family) { return family.metric.empty(); });
  return out;
}

}  // namespace omni
