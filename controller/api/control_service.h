// SPDX-License-Identifier: Apache-2.0
// ControlService: the management API (proto/omni/control/v1). gRPC calls it on its own threads;
// each call is posted onto the event loop, answered there and never waits for it. Owned by main();
// the server must be stopped while the loop still runs.
#pragma once

#include <grpcpp/grpcpp.h>

#include <boost/asio/io_context.hpp>

#include "controller/core/controller.h"
#include "omni/control/v1/control.grpc.pb.h"

namespace omni {

class ControlService : public control::v1::Control::CallbackService {
 public:
  ControlService(boost::asio::io_context& loop, Controller& controller)
      : loop_(loop), controller_(controller) {}

  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const control::v1::GetStatusRequest* request,
                                      control::v1::GetStatusResponse* response) override;
  grpc::ServerUnaryReactor* ListPeers(grpc::CallbackServerContext* context,
                                      const control::v1::ListPeersRequest* request,
                                      control::v1::ListPeersResponse* response) override;
  grpc::ServerUnaryReactor* GetPeer(grpc::CallbackServerContext* context,
                                    const control::v1::GetPeerRequest* request,
                                    control::v1::Peer* response) override;
  grpc::ServerUnaryReactor* AddPeer(grpc::CallbackServerContext* context,
                                    const control::v1::AddPeerRequest* request,
                                    control::v1::Peer* response) override;
  grpc::ServerUnaryReactor* RemovePeer(grpc::CallbackServerContext* context,
                                       const control::v1::RemovePeerRequest* request,
                                       control::v1::RemovePeerResponse* response) override;
  grpc::ServerUnaryReactor* ListSessions(grpc::CallbackServerContext* context,
                                         const control::v1::ListSessionsRequest* request,
                                         control::v1::ListSessionsResponse* response) override;
  grpc::ServerUnaryReactor* GetDrops(grpc::CallbackServerContext* context,
                                     const control::v1::GetDropsRequest* request,
                                     control::v1::GetDropsResponse* response) override;
  grpc::ServerUnaryReactor* Reload(grpc::CallbackServerContext* context,
                                   const control::v1::ReloadRequest* request,
                                   control::v1::ReloadResponse* response) override;
  grpc::ServerWriteReactor<control::v1::PingResult>* Ping(
      grpc::CallbackServerContext* context, const control::v1::PingRequest* request) override;

 private:
  boost::asio::io_context& loop_;
  Controller& controller_;
};

}  // namespace omni
