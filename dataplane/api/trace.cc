// SPDX-License-Identifier: Apache-2.0
// Single packets: what would become of one, and what became of those that workers saw.
#include <algorithm>
#include <utility>

#include "bpf/kernel_abi.h"
#include "common/encoding.h"
#include "common/status.h"
#include "dataplane/api/convert.h"
#include "dataplane/api/service.h"

namespace omni {
namespace {

// LIMIT: who reads a trace asks ten times a second; one that went away costs the workers no longer.
constexpr Duration kTraceIdle = std::chrono::seconds(5);

void WriteTraced(const TracedPacket& packet, Instant begun, v1::TracedPacket& out) {
  out.set_at_ns(static_cast<uint64_t>(std::max(Duration::zero(), packet.at - begun).count()));
  out.set_outgoing(packet.outgoing);
  out.set_bytes(packet.bytes);
  out.set_packets(packet.packets);
  if (packet.source != IpAddress()) out.set_source(AsString(packet.source.raw()));
  if (packet.destination != IpAddress()) out.set_destination(AsString(packet.destination.raw()));
  out.set_protocol(packet.protocol);
  out.set_source_port(packet.source_port);
  out.set_destination_port(packet.destination_port);
  out.set_verdict(std::string(packet.verdict));
  out.set_dropped(packet.dropped);
  if (packet.way) out.set_path(*packet.way == Way::kAfxdp ? "afxdp" : "socket");
  out.set_channel_id(packet.channel_id);
  out.set_counter(packet.counter);
}

std::pair<uint64_t, uint64_t> ByKernel(const Hub& hub) {
  const std::vector<uint64_t> counters = hub.GetKernelCounters();
  if (counters.empty()) return {0, 0};
  return {counters[OMNI_COUNT_kernel_tx],
          counters[OMNI_COUNT_kernel_rx] + counters[OMNI_COUNT_kernel_rx_slow]};
}

// What the kernel dropped since `before`: a record for each reason, however many they were. Nobody
// saw these packets, so that neither their peer nor their addresses are known.
void WriteDrops(const std::vector<uint64_t>& before, const std::vector<uint64_t>& after,
                std::string_view path, Duration at, v1::ReadTraceResponse& response) {
  for (size_t i = 0; i < std::min({before.size(), after.size(), kDropReasons}); ++i) {
    if (after[i] <= before[i]) continue;
    v1::TracedPacket& out = *response.add_packets();
    out.set_at_ns(static_cast<uint64_t>(at.count()));
    out.set_outgoing(kDropReasonInfo[i].name.starts_with("tx_"));
    out.set_packets(static_cast<uint32_t>(after[i] - before[i]));
    out.set_verdict(std::string(kDropReasonInfo[i].name));
    out.set_dropped(true);
    out.set_path(std::string(path));
  }
}

}  // namespace

void DataplaneService::ReadKernelDrops(Instant now, v1::ReadTraceResponse& response) {
  std::vector<uint64_t> kernel = hub_.GetKernelCounters();
  std::vector<uint64_t> xdp = info_.drops();
  WriteDrops(trace_.kernel_drops, kernel, "kernel", now - trace_.begun, response);
  WriteDrops(trace_.xdp_drops, xdp, "xdp", now - trace_.begun, response);
  trace_.kernel_drops = std::move(kernel);
  trace_.xdp_drops = std::move(xdp);
}

grpc::Status DataplaneService::ExplainPacket(grpc::ServerContext*,
                                             const v1::ExplainPacketRequest* request,
                                             v1::ExplainPacketResponse* response) {
  const auto question = ReadQuestion(*request);
  if (!question.ok()) return ToGrpc(question.status());
  const Explanation explanation = hub_.Explain(*question, Now());
  if (explanation.peer) response->set_peer_id(explanation.peer->ToBytes());
  if (explanation.session) response->set_session_id(AsString(*explanation.session));
  response->set_path(explanation.path);
  for (const auto& [name, text] : explanation.steps) {
    auto& step = *response->add_steps();
    step.set_name(name);
    step.set_text(text);
  }
  return grpc::Status::OK;
}

void DataplaneService::BeginTrace(uint64_t token, const PacketTrace::Filter& filter, Instant now) {
  const auto [tx, rx] = ByKernel(hub_);
  trace_ = {.token = token,
            .begun = now,
            .asked = now,
            .kernel_tx = tx,
            .kernel_rx = rx,
            .kernel_drops = hub_.GetKernelCounters(),
            .xdp_drops = info_.drops()};
  for (Worker* worker : workers_) worker->trace().Begin(filter);
}

void DataplaneService::EndTrace() {
  trace_ = {};
  for (Worker* worker : workers_) worker->trace().End();
}

void DataplaneService::Tick(Instant now) {
  const std::lock_guard lock(trace_mutex_);
  if (trace_.token != 0 && now - trace_.asked > kTraceIdle) EndTrace();
}

grpc::Status DataplaneService::ReadTrace(grpc::ServerContext*, const v1::ReadTraceRequest* request,
                                         v1::ReadTraceResponse* response) {
  if (request->token() == 0) return {grpc::StatusCode::INVALID_ARGUMENT, "token: is 0"};
  PacketTrace::Filter filter{.drops_only = request->drops_only()};
  if (!request->peer_id().empty()) {
    const auto id = ReadNodeId(request->peer_id(), "peer_id");
    if (!id.ok()) return ToGrpc(id.status());
    const auto peer = hub_.IndexOf(*id);
    if (!peer) return {grpc::StatusCode::NOT_FOUND, "peer_id: no peer " + id->ToString()};
    filter.peer = *peer;
  }
  const Instant now = Now();
  const std::lock_guard lock(trace_mutex_);
  if (trace_.token != request->token()) BeginTrace(request->token(), filter, now);
  trace_.asked = now;
  for (size_t i = 0; i < workers_.size(); ++i) {
    const PacketTrace::Taken taken = workers_[i]->trace().Take();
    response->set_missed(response->missed() + taken.missed);
    for (const TracedPacket& packet : taken.packets) {
      v1::TracedPacket& out = *response->add_packets();
      WriteTraced(packet, trace_.begun, out);
      out.set_worker(static_cast<uint32_t>(i));
      const auto peer = hub_.IdOf(packet.peer);
      if (peer) out.set_peer_id(peer->ToBytes());
    }
  }
  if (request->peer_id().empty()) ReadKernelDrops(now, *response);
  std::ranges::stable_sort(*response->mutable_packets(), {}, &v1::TracedPacket::at_ns);
  const auto [tx, rx] = ByKernel(hub_);
  response->set_kernel_tx(tx - trace_.kernel_tx);
  response->set_kernel_rx(rx - trace_.kernel_rx);
  return grpc::Status::OK;
}

}  // namespace omni
