// SPDX-License-Identifier: Apache-2.0
// DataplaneClient: the controller's view of a dataplane, whoever implements it (gRPC, or a fake in
// tests). Owned by main(). All of it runs on the event loop: methods are called there, and every
// callback and listener call arrives there, later, never from inside the call.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "omni/dataplane/v1/dataplane.pb.h"

namespace omni {

class DataplaneListener {
 public:
  virtual ~DataplaneListener() = default;
  // The stream is open and the dataplane said hello.
  virtual void OnConnected(const std::string& boot_id) = 0;
  // The stream ended, or a try to open one failed. Calls under way end with an error of their own.
  virtual void OnDisconnected(const absl::Status& why) = 0;
  virtual void OnPacketIn(const dataplane::v1::PacketIn& packet) = 0;
  virtual void OnEvent(const dataplane::v1::Event& event) = 0;
};

class DataplaneClient {
 public:
  template <typename Response>
  using Callback = std::function<void(absl::StatusOr<Response>)>;

  virtual ~DataplaneClient() = default;
  // Connects, and connects again whenever the stream ends. `listener` must outlive the client.
  virtual void Start(DataplaneListener* listener) = 0;

  virtual void GetInfo(Callback<dataplane::v1::GetInfoResponse> done) = 0;
  virtual void GetState(Callback<dataplane::v1::GetStateResponse> done) = 0;
  virtual void ApplyState(const dataplane::v1::ApplyStateRequest& request,
                          Callback<dataplane::v1::ApplyStateResponse> done) = 0;
  virtual void InstallSession(const dataplane::v1::InstallSessionRequest& request,
                              Callback<dataplane::v1::InstallSessionResponse> done) = 0;
  virtual void RemoveSession(const dataplane::v1::RemoveSessionRequest& request,
                             Callback<dataplane::v1::RemoveSessionResponse> done) = 0;
  virtual void GetCounters(Callback<dataplane::v1::GetCountersResponse> done) = 0;
  // The same with everything by worker and CPU.
  virtual void GetStats(Callback<dataplane::v1::GetCountersResponse> done) = 0;
  virtual void ExplainPacket(const dataplane::v1::ExplainPacketRequest& request,
                             Callback<dataplane::v1::ExplainPacketResponse> done) = 0;
  virtual void ReadTrace(const dataplane::v1::ReadTraceRequest& request,
                         Callback<dataplane::v1::ReadTraceResponse> done) = 0;
  virtual void SendEcho(const dataplane::v1::SendEchoRequest& request,
                        Callback<dataplane::v1::SendEchoResponse> done) = 0;
  virtual void TryPath(const dataplane::v1::TryPathRequest& request,
                       Callback<dataplane::v1::TryPathResponse> done) = 0;
  virtual void MovePeer(const dataplane::v1::MovePeerRequest& request,
                        Callback<dataplane::v1::MovePeerResponse> done) = 0;
  virtual void OpenRelay(const dataplane::v1::OpenRelayRequest& request,
                         Callback<dataplane::v1::OpenRelayResponse> done) = 0;
  // Best effort, as every datagram.
  virtual void SendPacket(const dataplane::v1::PacketOut& packet) = 0;
};

}  // namespace omni
