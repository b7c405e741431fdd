// SPDX-License-Identifier: Apache-2.0
// Names, help texts and values of all metrics: the one list of them.
#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "common/cipher.h"
#include "common/encoding.h"
#include "common/metrics/family.h"
#include "controller/metrics/metrics.h"
#include "generated/version.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;
using prometheus::MetricFamily;
using prometheus::MetricType;

// Seconds since 1970 at which this process came up, for `process_start_time_seconds`.
double StartTime() {
  static const double start =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  return start;
}

double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

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
  Family loss("omni_peer_echo_loss_ratio",
              "Of the latest echoes over the present path, 64 at most, those not answered.",
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
    const LossWindow::Loss seen = peer->loss.Get(controller.now());
    if (seen.samples > 0) loss.Add(LabelsOf(*peer), seen.percent() / 100);
  }
  for (Family* family : {&up, &cipher, &handshakes, &failures, &age, &rtt, &loss}) {
    out.push_back(family->Take());
  }
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

void AddPathTraffic(const dp::GetCountersResponse& counters, std::vector<MetricFamily>& out) {
  Family packets("omni_path_packets_total",
                 "Session data (and other datagrams of sockets) by the way it took.",
                 MetricType::Counter);
  Family bytes("omni_path_bytes_total", "The same in bytes of UDP's payload.", MetricType::Counter);
  for (const dp::PathTraffic& path : counters.paths()) {
    const auto labels = [&path](const char* direction) {
      return Labels{{"path", MetricName(path.path())}, {"direction", direction}};
    };
    packets.Add(labels("tx"), static_cast<double>(path.tx_packets()));
    packets.Add(labels("rx"), static_cast<double>(path.rx_packets()));
    bytes.Add(labels("tx"), static_cast<double>(path.tx_bytes()));
    bytes.Add(labels("rx"), static_cast<double>(path.rx_bytes()));
  }
  for (Family* family : {&packets, &bytes}) out.push_back(family->Take());
}

void AddDataplaneCounters(const dp::GetCountersResponse& counters, std::vector<MetricFamily>& out) {
  Family drops("omni_drops_total", "Packets that ended otherwise than delivered, by reason.",
               MetricType::Counter);
  for (const dp::Counter& drop : counters.drops()) {
    drops.Add({{"reason", drop.name()}}, static_cast<double>(drop.value()));
  }
  out.push_back(drops.Take());
  AddPathTraffic(counters, out);
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

void AddRelay(const Controller& controller, std::vector<MetricFamily>& out) {
  if (!controller.config().relay.for_peers) return;
  const auto& counters = controller.relay_counters();
  out.push_back(Single("omni_relay_handshakes_total",
                       "Handshake messages passed on from one peer to another.",
                       MetricType::Counter, static_cast<double>(counters.handshakes)));
  out.push_back(Single("omni_relay_refused_total",
                       "What was asked of this node as a relay, and not done.", MetricType::Counter,
                       static_cast<double>(counters.refused)));
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
  Family path("omni_dataplane_path", "1; the path that session data takes now, as a label.",
              MetricType::Gauge);
  if (!info.path().empty()) path.Add({{"path", MetricName(info.path())}}, 1);
  for (Family* family : {&active, &refusals, &path}) out.push_back(family->Take());
}

// What nodes tell each other without a Nucleus.
void AddMesh(const MeshView& mesh, std::vector<MetricFamily>& out) {
  const auto add = [&out](const char* name, const char* help, MetricType type, size_t value) {
    out.push_back(Single(name, help, type, static_cast<double>(value)));
  };
  if (mesh.beacons_wanted) {
    add("omni_mesh_beacons_sent_total", "Beacons said on the links of this machine.",
        MetricType::Counter, mesh.beacons.sent);
    add("omni_mesh_beacons_heard_total", "Beacons of other nodes, new ones.", MetricType::Counter,
        mesh.beacons.heard);
    add("omni_mesh_beacons_replayed_total",
        "Beacons that were heard before, or are older than one that was.", MetricType::Counter,
        mesh.beacons.replayed);
    Family refused("omni_mesh_beacons_refused_total",
                   "Beacons of members that are malformed, or do not come from where they say.",
                   MetricType::Counter);
    refused.Add({{"reason", "malformed"}}, static_cast<double>(mesh.beacons.malformed));
    refused.Add({{"reason", "foreign"}}, static_cast<double>(mesh.beacons.foreign));
    out.push_back(refused.Take());
    std::set<NodeId> neighbours;
    for (const Beacons::Neighbour& one : mesh.neighbours) neighbours.insert(one.id);
    add("omni_mesh_neighbours", "Nodes on the links of this machine.", MetricType::Gauge,
        neighbours.size());
  }
  const PeerSignalingView& quic = mesh.signaling;
  add("omni_mesh_connections", "QUIC connections with other nodes.", MetricType::Gauge,
      quic.connections.size());
  add("omni_mesh_handshakes_total", "TLS handshakes with other nodes.", MetricType::Counter,
      quic.handshakes);
  add("omni_mesh_handshake_failures_total",
      "TLS handshakes with other nodes that failed or were not answered.", MetricType::Counter,
      quic.failures);
  add("omni_mesh_connection_moves_total",
      "Times that another node came to another address under its connection.", MetricType::Counter,
      quic.moves);
  add("omni_mesh_messages_refused_total", "Messages beyond a node's quota, or against the rules.",
      MetricType::Counter, quic.refused);
  Family knocks("omni_mesh_knocks_refused_total",
                "Datagrams that begin no connection, though the dataplane let them in.",
                MetricType::Counter);
  knocks.Add({{"reason", "replayed"}}, static_cast<double>(quic.replayed));
  knocks.Add({{"reason", "unknown"}}, static_cast<double>(quic.unknown));
  out.push_back(knocks.Take());
}

void AddSearches(const PortSearches::Counters& counters, std::vector<MetricFamily>& out) {
  Family searches("omni_port_searches_total",
                  "Searches of the ports of hard NATs, by what became of them.",
                  MetricType::Counter);
  searches.Add({{"state", "begun"}}, static_cast<double>(counters.begun));
  searches.Add({{"state", "found"}}, static_cast<double>(counters.found));
  searches.Add({{"state", "exhausted"}}, static_cast<double>(counters.exhausted));
  out.push_back(searches.Take());
  out.push_back(Single("omni_port_search_tries_total", "Ports of hard NATs that were tried.",
                       MetricType::Counter, static_cast<double>(counters.tries)));
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
  out.push_back(Single("omni_node_up", "1; 0 while the node is taken down (omnictl down).",
                       MetricType::Gauge, controller.node_state() == NodeState::kUp ? 1 : 0));
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
  out.push_back(Single("omni_controller_revoked_nodes", "Nodes that are no members any more.",
                       MetricType::Gauge, static_cast<double>(controller.revocations().size())));
  out.push_back(Single("omni_controller_refused_revocations_total",
                       "Revocations that were not what a member signed, or beyond the limit.",
                       MetricType::Counter,
                       static_cast<double>(controller.revocations().refused())));
  if (const auto mesh = controller.mesh_view()) AddMesh(*mesh, out);
  if (controller.searches() != nullptr) AddSearches(controller.searches()->counters(), out);
  AddPeers(controller, out);
  AddRelay(controller, out);
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
