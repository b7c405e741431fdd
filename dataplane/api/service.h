// SPDX-License-Identifier: Apache-2.0
// DataplaneService: the contract as a gRPC service over the Hub. Called on gRPC's threads; holds no
// state of its own but the one stream that is served.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/clock.h"
#include "dataplane/hub/hub.h"
#include "dataplane/io/kernel_offload.h"
#include "omni/dataplane/v1/dataplane.grpc.pb.h"

namespace omni {

class EventQueue;

// What GetInfo tells besides limits and uptime.
struct DataplaneInfo {
  std::string tun_name;
  uint16_t listen_port = 0;
  std::vector<CipherSpeed> ciphers;
  struct Path {
    std::string name;  // "socket", "afxdp"
    std::string reason;
  };
  std::function<Path()> path = [] { return Path{"socket", ""}; };
  std::function<PathSettings()> settings = [] { return PathSettings(); };
  std::function<uint32_t()> control_channels = [] { return 0U; };
  // Asked each time, because an offload may fall back while the dataplane runs.
  std::function<std::vector<OffloadReport::Line>()> features = [] {
    return std::vector<OffloadReport::Line>();
  };
  // What ended outside the workers, by DropReason, and what else was counted there.
  struct Counted {
    std::string_view name;
    std::string_view help;
    uint64_t value = 0;
  };
  std::function<std::vector<uint64_t>()> drops = [] { return std::vector<uint64_t>(); };
  std::function<std::vector<Counted>()> counters = [] { return std::vector<Counted>(); };
  // The same of each CPU.
  std::function<std::vector<std::vector<Counted>>()> counters_by_cpu = [] {
    return std::vector<std::vector<Counted>>();
  };
  struct Traffic {
    std::string_view path;
    uint64_t tx_packets = 0;
    uint64_t tx_bytes = 0;
    uint64_t rx_packets = 0;
    uint64_t rx_bytes = 0;
  };
  std::function<std::vector<Traffic>()> traffic = [] { return std::vector<Traffic>(); };
};

class DataplaneService final : public dataplane::v1::Dataplane::Service {
 public:
  // Both outlive the service.
  DataplaneService(Hub& hub, std::vector<Worker*> workers, DataplaneInfo info);

  // Ends a trace that nobody asks for any more. A few times a second.
  void Tick(Instant now);

  // Ends the running stream, so that the server can stop.
  void Shutdown();

  grpc::Status GetInfo(grpc::ServerContext* context, const dataplane::v1::GetInfoRequest* request,
                       dataplane::v1::GetInfoResponse* response) override;
  grpc::Status ApplyState(grpc::ServerContext* context,
                          const dataplane::v1::ApplyStateRequest* request,
                          dataplane::v1::ApplyStateResponse* response) override;
  grpc::Status GetState(grpc::ServerContext* context, const dataplane::v1::GetStateRequest* request,
                        dataplane::v1::GetStateResponse* response) override;
  grpc::Status InstallSession(grpc::ServerContext* context,
                              const dataplane::v1::InstallSessionRequest* request,
                              dataplane::v1::InstallSessionResponse* response) override;
  grpc::Status RemoveSession(grpc::ServerContext* context,
                             const dataplane::v1::RemoveSessionRequest* request,
                             dataplane::v1::RemoveSessionResponse* response) override;
  grpc::Status GetCounters(grpc::ServerContext* context,
                           const dataplane::v1::GetCountersRequest* request,
                           dataplane::v1::GetCountersResponse* response) override;
  grpc::Status SendEcho(grpc::ServerContext* context, const dataplane::v1::SendEchoRequest* request,
                        dataplane::v1::SendEchoResponse* response) override;
  grpc::Status ExplainPacket(grpc::ServerContext* context,
                             const dataplane::v1::ExplainPacketRequest* request,
                             dataplane::v1::ExplainPacketResponse* response) override;
  grpc::Status ReadTrace(grpc::ServerContext* context,
                         const dataplane::v1::ReadTraceRequest* request,
                         dataplane::v1::ReadTraceResponse* response) override;
  using ControlStream =
      grpc::ServerReaderWriter<dataplane::v1::StreamResponse, dataplane::v1::StreamRequest>;
  grpc::Status TryPath(grpc::ServerContext* context, const dataplane::v1::TryPathRequest* request,
                       dataplane::v1::TryPathResponse* response) override;
  grpc::Status MovePeer(grpc::ServerContext* context, const dataplane::v1::MovePeerRequest* request,
                        dataplane::v1::MovePeerResponse* response) override;
  grpc::Status OpenRelay(grpc::ServerContext* context,
                         const dataplane::v1::OpenRelayRequest* request,
                         dataplane::v1::OpenRelayResponse* response) override;
  grpc::Status Stream(grpc::ServerContext* context, ControlStream* stream) override;

 private:
  void ReadPackets(ControlStream& stream, EventQueue& queue);

  // counters.cc
  void FillGroups(dataplane::v1::GetCountersResponse& response) const;
  void FillTraffic(const std::vector<uint64_t>& kernel,
                   dataplane::v1::GetCountersResponse& response) const;

  // trace.cc
  struct Trace {
    uint64_t token = 0;  // 0: there is none
    Instant begun;
    Instant asked;
    uint64_t kernel_tx = 0;  // when it began
    uint64_t kernel_rx = 0;
    // By omni_drop_reason, when it was last read.
    std::vector<uint64_t> kernel_drops;
    std::vector<uint64_t> xdp_drops;
  };
  void BeginTrace(uint64_t token, const PacketTrace::Filter& filter, Instant now);
  void EndTrace();
  void ReadKernelDrops(Instant now, dataplane::v1::ReadTraceResponse& response);

  Hub& hub_;
  const std::vector<Worker*> workers_;
  const DataplaneInfo info_;
  const Instant started_ = Now();
  std::array<uint8_t, 16> boot_id_{};
  std::mutex mutex_;
  std::shared_ptr<EventQueue> queue_;  // of the stream that is served
  bool shut_down_ = false;
  std::mutex trace_mutex_;
  Trace trace_;
};

}  // namespace omni
