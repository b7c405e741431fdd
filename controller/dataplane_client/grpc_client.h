// SPDX-License-Identifier: Apache-2.0
// GrpcDataplaneClient: a DataplaneClient over the dataplane's unix socket. gRPC's threads do
// nothing but post results onto the event loop. Owned by main(); destroy it on the loop's thread
// while the io_context still exists.
#pragma once

#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "controller/dataplane_client/dataplane_client.h"

namespace omni {

class GrpcDataplaneClient : public DataplaneClient {
 public:
  GrpcDataplaneClient(boost::asio::io_context& loop, const std::string& socket);
  // Cancels what is under way, without callbacks, and waits until gRPC is done with it.
  ~GrpcDataplaneClient() override;

  void Start(DataplaneListener* listener) override;
  void GetInfo(Callback<dataplane::v1::GetInfoResponse> done) override;
  void GetState(Callback<dataplane::v1::GetStateResponse> done) override;
  void ApplyState(const dataplane::v1::ApplyStateRequest& request,
                  Callback<dataplane::v1::ApplyStateResponse> done) override;
  void InstallSession(const dataplane::v1::InstallSessionRequest& request,
                      Callback<dataplane::v1::InstallSessionResponse> done) override;
  void RemoveSession(const dataplane::v1::RemoveSessionRequest& request,
                     Callback<dataplane::v1::RemoveSessionResponse> done) override;
  void GetCounters(Callback<dataplane::v1::GetCountersResponse> done) override;
  void GetStats(Callback<dataplane::v1::GetCountersResponse> done) override;
  void ExplainPacket(const dataplane::v1::ExplainPacketRequest& request,
                     Callback<dataplane::v1::ExplainPacketResponse> done) override;
  void ReadTrace(const dataplane::v1::ReadTraceRequest& request,
                 Callback<dataplane::v1::ReadTraceResponse> done) override;
  void SendEcho(const dataplane::v1::SendEchoRequest& request,
                Callback<dataplane::v1::SendEchoResponse> done) override;
  void TryPath(const dataplane::v1::TryPathRequest& request,
               Callback<dataplane::v1::TryPathResponse> done) override;
  void MovePeer(const dataplane::v1::MovePeerRequest& request,
                Callback<dataplane::v1::MovePeerResponse> done) override;
  void OpenRelay(const dataplane::v1::OpenRelayRequest& request,
                 Callback<dataplane::v1::OpenRelayResponse> done) override;
  void SendPacket(const dataplane::v1::PacketOut& packet) override;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace omni
