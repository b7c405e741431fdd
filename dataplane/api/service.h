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
  uint32_t control_channels = 0;
  struct Path {
    std::string name;  // "socket", "afxdp"
    std::string reason;
  };
  std::function<Path()> path = [] { return Path{"socket", ""}; };
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
};

class DataplaneService final : public dataplane::v1::Dataplane::Service {
 public:
  // Both outlive the service.
  DataplaneService(Hub& hub, std::vector<const Worker*> workers, DataplaneInfo info);

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
  using ControlStream =
      grpc::ServerReaderWriter<dataplane::v1::StreamResponse, dataplane::v1::StreamRequest>;
  grpc::Status Stream(grpc::ServerContext* context, ControlStream* stream) override;

 private:
  void ReadPackets(ControlStream& stream, EventQueue& queue);

  Hub& hub_;
  const std::vector<const Worker*> workers_;
  const DataplaneInfo info_;
  const Instant started_ = Now();
  std::array<uint8_t, 16> boot_id_{};
  std::mutex mutex_;
  std::shared_ptr<EventQueue> queue_;  // of the stream that is served
  bool shut_down_ = false;
};

}  // namespace omni
