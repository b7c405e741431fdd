// SPDX-License-Identifier: Apache-2.0
// Calls about the members of the cluster and its secrets.
#include "controller/api/arguments.h"
#include "controller/api/control_service.h"
#include "controller/api/on_loop.h"
#include "controller/api/views.h"

namespace omni {

namespace api = control::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

ServerUnaryReactor* ControlService::GetCluster(CallbackServerContext* context,
                                               const api::GetClusterRequest* /*request*/,
                                               api::GetClusterResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    FillCluster(controller_, *response);
    reactor->Finish(grpc::Status::OK);
  });
}

ServerUnaryReactor* ControlService::RevokeNode(CallbackServerContext* context,
                                               const api::RevokeNodeRequest* request,
                                               api::Revocation* response) {
  return OnLoop(loop_, context, [this, request, response](ServerUnaryReactor* reactor) {
    const auto revoked = controller_.Revoke(request->node(), request->reason());
    if (revoked.ok()) FillRevocation((*revoked)->revocation, *response);
    reactor->Finish(ToGrpc(revoked.status()));
  });
}

ServerUnaryReactor* ControlService::ListRevocations(CallbackServerContext* context,
                                                    const api::ListRevocationsRequest* /*request*/,
                                                    api::ListRevocationsResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    FillRevocations(controller_, *response);
    reactor->Finish(grpc::Status::OK);
  });
}

}  // namespace omni
