// SPDX-License-Identifier: Apache-2.0
// ControlService: the management API (proto/omni/control/v1). gRPC calls it on its own threads;
// each call is posted onto the event loop, answered there and never waits for it. Owned by main();
// the server must be stopped while the loop still runs.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>

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
  grpc::ServerUnaryReactor* SetNodeState(grpc::CallbackServerContext* context,
                                         const control::v1::SetNodeStateRequest* request,
                                         control::v1::SetNodeStateResponse* response) override;
  grpc::ServerUnaryReactor* ListPeers(grpc::CallbackServerContext* context,
                                      const control::v1::ListPeersRequest* request,
                                      control::v1::ListPeersResponse* response) override;
  grpc::ServerWriteReactor<control::v1::PeerChange>* WatchPeers(
      grpc::CallbackServerContext* context, const control::v1::WatchPeersRequest* request) override;
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
  grpc::ServerUnaryReactor* GetNucleus(grpc::CallbackServerContext* context,
                                       const control::v1::GetNucleusRequest* request,
                                       control::v1::GetNucleusResponse* response) override;
  grpc::ServerUnaryReactor* CheckNetwork(grpc::CallbackServerContext* context,
                                         const control::v1::CheckNetworkRequest* request,
                                         control::v1::CheckNetworkResponse* response) override;
  grpc::ServerUnaryReactor* ReleaseAddresses(
      grpc::CallbackServerContext* context, const control::v1::ReleaseAddressesRequest* request,
      control::v1::ReleaseAddressesResponse* response) override;
  grpc::ServerUnaryReactor* RevokeNode(grpc::CallbackServerContext* context,
                                       const control::v1::RevokeNodeRequest* request,
                                       control::v1::Revocation* response) override;
  grpc::ServerUnaryReactor* GetCluster(grpc::CallbackServerContext* context,
                                       const control::v1::GetClusterRequest* request,
                                       control::v1::GetClusterResponse* response) override;
  grpc::ServerUnaryReactor* ListRevocations(
      grpc::CallbackServerContext* context, const control::v1::ListRevocationsRequest* request,
      control::v1::ListRevocationsResponse* response) override;
  grpc::ServerUnaryReactor* GetDrops(grpc::CallbackServerContext* context,
                                     const control::v1::GetDropsRequest* request,
                                     control::v1::GetDropsResponse* response) override;
  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context,
                                     const control::v1::GetStatsRequest* request,
                                     control::v1::GetStatsResponse* response) override;
  grpc::ServerUnaryReactor* GetPaths(grpc::CallbackServerContext* context,
                                     const control::v1::GetPathsRequest* request,
                                     control::v1::Paths* response) override;
  grpc::ServerUnaryReactor* SetPaths(grpc::CallbackServerContext* context,
                                     const control::v1::SetPathsRequest* request,
                                     control::v1::Paths* response) override;
  grpc::ServerUnaryReactor* ExplainPacket(grpc::CallbackServerContext* context,
                                          const control::v1::ExplainPacketRequest* request,
                                          control::v1::ExplainPacketResponse* response) override;
  grpc::ServerWriteReactor<control::v1::TraceResult>* Trace(
      grpc::CallbackServerContext* context, const control::v1::TraceRequest* request) override;
  grpc::ServerUnaryReactor* Reload(grpc::CallbackServerContext* context,
                                   const control::v1::ReloadRequest* request,
                                   control::v1::ReloadResponse* response) override;
  grpc::ServerWriteReactor<control::v1::PingResult>* Ping(
      grpc::CallbackServerContext* context, const control::v1::PingRequest* request) override;

 private:
  boost::asio::io_context& loop_;
  Controller& controller_;
  const std::shared_ptr<size_t> watching_ = std::make_shared<size_t>(0);  // of the loop
};

}  // namespace omni
