// SPDX-License-Identifier: Apache-2.0
// Which ways packets take, what was counted on them, and single packets.
#include <fmt/format.h>

#include "common/encoding.h"
#include "controller/api/views.h"
#include "controller/core/convert.h"
#include "controller/core/path_request.h"

namespace omni {
namespace {

namespace api = control::v1;
namespace dp = dataplane::v1;

std::string PeerName(const Controller& controller, const std::string& raw_id) {
  const auto id = NodeId::FromBytes(raw_id);
  if (!id) return "";
  const Peer* peer = controller.peers().Find(*id);
  return peer == nullptr ? id->ToString() : peer->spec.name;
}

void FillCounter(const dp::Counter& from, api::Counter& out) {
  out.set_name(from.name());
  out.set_help(from.help());
  out.set_value(from.value());
}

std::string ProtocolName(uint32_t number) {
  switch (number) {
    case 1:
      return "icmp";
    case 6:
      return "tcp";
    case 17:
      return "udp";
    case 58:
      return "icmpv6";
    default:
      return fmt::format("{}", number);
  }
}

// "10.77.0.2", "10.77.0.2:80", "[fd77::2]:80".
std::string HostText(const std::string& raw, uint32_t port) {
  std::string address = AddressText(raw);
  if (port == 0 || address.empty()) return address;
  return raw.size() == 4 ? fmt::format("{}:{}", address, port)
                         : fmt::format("[{}]:{}", address, port);
}

bool IsOfPaths(const std::string& feature) {
  return feature == "in_kernel" || feature.starts_with("xdp") || feature.starts_with("afxdp");
}

}  // namespace

void FillFeature(const dp::Feature& feature, api::GetStatusResponse::Feature& out) {
  out.set_name(feature.name());
  out.set_active(feature.active());
  out.set_reason(feature.reason());
  out.set_refusals(feature.refusals());
}

void FillPaths(const Controller& controller, api::Paths& out) {
  *out.mutable_config() = ToRequest(controller.config().paths);
  *out.mutable_api() = ToRequest(controller.api_paths());
  const DataplaneView view = controller.dataplane_view();
  if (!view.connected) return;
  *out.mutable_in_force() = ToRequest(FromProto(view.info.paths()));
  out.set_path(view.info.path());
  out.set_path_reason(view.info.path_reason());
  for (const dp::Feature& feature : view.info.features()) {
    if (IsOfPaths(feature.name())) FillFeature(feature, *out.add_features());
  }
}

void FillStats(const dp::GetCountersResponse& counters, api::GetStatsResponse& out) {
  for (const dp::PathTraffic& from : counters.paths()) {
    api::PathTraffic& path = *out.add_paths();
    path.set_path(from.path());
    path.set_tx_packets(from.tx_packets());
    path.set_tx_bytes(from.tx_bytes());
    path.set_rx_packets(from.rx_packets());
    path.set_rx_bytes(from.rx_bytes());
  }
  for (const dp::Counter& counter : counters.workers()) FillCounter(counter, *out.add_counters());
  for (const dp::Counter& counter : counters.drops()) {
    api::Counter& added = *out.add_counters();
    FillCounter(counter, added);
    added.set_drop(true);
  }
  for (const dp::CounterGroup& from : counters.groups()) {
    api::CounterGroup& group = *out.add_groups();
    group.set_name(from.name());
    for (const dp::Counter& counter : from.counters()) FillCounter(counter, *group.add_counters());
  }
}

void FillExplanation(const Controller& controller, const dp::ExplainPacketResponse& explanation,
                     api::ExplainPacketResponse& out) {
  out.set_peer(PeerName(controller, explanation.peer_id()));
  if (!explanation.session_id().empty()) {
    out.set_session_id(HexEncode(AsBytes(explanation.session_id())));
  }
  out.set_path(explanation.path());
  for (const auto& from : explanation.steps()) {
    auto& step = *out.add_steps();
    step.set_name(from.name());
    step.set_text(from.text());
  }
}

void FillTraced(const Controller& controller, const dp::TracedPacket& packet,
                api::TracedPacket& out) {
  *out.mutable_at() = ToProto(std::chrono::nanoseconds(packet.at_ns()));
  out.set_direction(packet.outgoing() ? "out" : "in");
  out.set_worker(packet.worker());
  out.set_peer(PeerName(controller, packet.peer_id()));
  out.set_bytes(packet.bytes());
  out.set_packets(packet.packets());
  if (packet.protocol() != 0) out.set_protocol(ProtocolName(packet.protocol()));
  out.set_source(HostText(packet.source(), packet.source_port()));
  out.set_destination(HostText(packet.destination(), packet.destination_port()));
  out.set_verdict(packet.verdict());
  out.set_dropped(packet.dropped());
  out.set_path(packet.path());
  if (packet.channel_id() != 0) out.set_channel_id(fmt::format("{:016x}", packet.channel_id()));
  out.set_counter(packet.counter());
}

}  // namespace omni
