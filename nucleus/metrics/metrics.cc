// SPDX-License-Identifier: Apache-2.0
#include "nucleus/metrics/metrics.h"

#include <string>
#include <utility>

#include "common/metrics/family.h"
#include "generated/version.h"

namespace omni {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

void AddClusters(const NucleusServer& server, std::vector<MetricFamily>& out) {
  Family nodes("omni_nucleus_nodes", "Nodes in the registry", MetricType::Gauge);
  Family connected("omni_nucleus_connected_nodes", "Nodes that are connected", MetricType::Gauge);
  Family leases("omni_nucleus_leases", "Addresses that are leased to nodes", MetricType::Gauge);
  Family revoked("omni_nucleus_revoked_nodes", "Nodes that are revoked", MetricType::Gauge);
  Family errors("omni_nucleus_store_errors_total", "Writes to the registry's file that failed",
                MetricType::Counter);
  for (const auto& view : server.clusters()) {
    const Labels labels = {{"cluster", view.name}};
    nodes.Add(labels, static_cast<double>(view.registry->size()));
    connected.Add(labels, static_cast<double>(view.connected));
    leases.Add(labels, static_cast<double>(view.registry->leases()));
    revoked.Add(labels, static_cast<double>(view.registry->revoked().size()));
    errors.Add(labels, static_cast<double>(view.registry->store_errors()));
  }
  out.push_back(nodes.Take());
  out.push_back(connected.Take());
  out.push_back(leases.Take());
  out.push_back(revoked.Take());
  out.push_back(errors.Take());
}

void AddCounter(std::vector<MetricFamily>& out, std::string name, std::string help,
                uint64_t value) {
  out.push_back(
      Single(std::move(name), std::move(help), MetricType::Counter, static_cast<double>(value)));
}

void AddRelay(const NucleusServer& server, std::vector<MetricFamily>& out) {
  const Relay& relay = server.relay();
  const auto& counters = server.counters();
  using Verdict = Relay::Verdict;
  AddCounter(out, "omni_nucleus_relay_datagrams_total", "Datagrams of session data sent on",
             relay.count(Verdict::kForward));
  AddCounter(out, "omni_nucleus_relay_bytes_total", "Bytes in them", relay.bytes());
  AddCounter(out, "omni_nucleus_relay_handshakes_total", "Handshake messages passed on",
             counters.relayed_handshakes);
  out.push_back(Single("omni_nucleus_relay_channels", "Channels that are open", MetricType::Gauge,
                       static_cast<double>(relay.channels())));
  Family dropped("omni_nucleus_relay_dropped_total", "What was not sent on, by reason",
                 MetricType::Counter);
  const std::pair<const char*, uint64_t> reasons[] = {
      {"malformed", relay.count(Verdict::kMalformed)},
      {"unknown_channel", relay.count(Verdict::kUnknown)},
      {"replayed", relay.count(Verdict::kReplayed)},
      {"over_quota", relay.count(Verdict::kOverQuota)},
      {"stranger", counters.relay_strangers},
      {"not_connected", counters.relay_absent},
      {"too_fast", counters.relay_too_fast}};
  for (const auto& [reason, count] : reasons) {
    dropped.Add({{"reason", reason}}, static_cast<double>(count));
  }
  out.push_back(dropped.Take());
}

}  // namespace

std::vector<MetricFamily> CollectNucleusMetrics(const NucleusServer& server,
                                                const DatagramCounters& datagrams) {
  std::vector<MetricFamily> out;
  Family build("omni_nucleus_build_info", "Version of the Nucleus", MetricType::Gauge);
  build.Add({{"version", kVersion}}, 1);
  out.push_back(build.Take());
  AddClusters(server, out);
  out.push_back(Single("omni_nucleus_connections", "QUIC connections", MetricType::Gauge,
                       static_cast<double>(server.connections())));
  const auto& counters = server.counters();
  AddCounter(out, "omni_nucleus_records_total", "Records that were new or changed",
             counters.records);
  AddCounter(out, "omni_nucleus_deltas_total", "Messages with changes that were sent",
             counters.deltas);
  AddCounter(out, "omni_nucleus_calls_total", "Calls that were passed on", counters.calls);
  AddCounter(out, "omni_nucleus_forgotten_total", "Nodes that were silent for too long",
             counters.forgotten);
  AddCounter(out, "omni_nucleus_violations_total", "Connections that broke the rules",
             counters.violations);
  Family refused("omni_nucleus_refused_total", "Requests that were refused, by reason",
                 MetricType::Counter);
  for (const auto& [reason, count] : counters.refused) {
    refused.Add({{"reason", reason}}, static_cast<double>(count));
  }
  out.push_back(refused.Take());
  AddRelay(server, out);
  AddCounter(out, "omni_nucleus_stun_answered_total", "STUN requests answered",
             counters.stun_answered);
  AddCounter(out, "omni_nucleus_stun_refused_total",
             "Datagrams that were no STUN request, or beyond 20,000 a second",
             counters.stun_refused);
  const auto& quic = server.quic_counters();
  AddCounter(out, "omni_nucleus_quic_handshakes_total", "Handshakes completed", quic.handshakes);
  AddCounter(out, "omni_nucleus_quic_handshake_failures_total", "Handshakes that failed",
             quic.failures);
  AddCounter(out, "omni_nucleus_quic_retries_total", "Clients that had to show their address",
             quic.retries);
  AddCounter(out, "omni_nucleus_quic_resets_total", "Former connections told that they ended",
             quic.resets);
  AddCounter(out, "omni_nucleus_quic_over_limit_total", "Clients beyond max_connections",
             quic.refused);
  AddCounter(out, "omni_nucleus_quic_unknown_total", "Datagrams that belong to nothing",
             quic.unknown);
  AddCounter(out, "omni_nucleus_datagrams_received_total", "UDP datagrams", datagrams.received);
  AddCounter(out, "omni_nucleus_datagrams_sent_total", "UDP datagrams", datagrams.sent);
  AddCounter(out, "omni_nucleus_datagrams_unsent_total", "UDP datagrams that the kernel refused",
             datagrams.send_failures);
  return out;
}

}  // namespace omni
