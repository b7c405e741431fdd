// SPDX-License-Identifier: Apache-2.0
// The calls about the packets' ways: which, how much, and single packets.
#include "common/status.h"
#include "controller/api/arguments.h"
#include "controller/api/control_service.h"
#include "controller/api/on_loop.h"
#include "controller/api/trace.h"
#include "controller/api/views.h"
#include "controller/core/path_request.h"

namespace omni {

namespace api = control::v1;
namespace dp = dataplane::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

ServerUnaryReactor* ControlService::GetStats(CallbackServerContext* context,
                                             const api::GetStatsRequest* /*request*/,
                                             api::GetStatsResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    controller_.dataplane().GetStats(
        [response, reactor](const absl::StatusOr<dp::GetCountersResponse>& counters) {
          if (counters.ok()) FillStats(*counters, *response);
          reactor->Finish(ToGrpc(counters.status()));
        });
  });
}

ServerUnaryReactor* ControlService::GetPaths(CallbackServerContext* context,
                                             const api::GetPathsRequest* /*request*/,
                                             api::Paths* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    controller_.RefreshInfo([this, response, reactor] {
      FillPaths(controller_, *response);
      reactor->Finish(grpc::Status::OK);
    });
  });
}

ServerUnaryReactor* ControlService::SetPaths(CallbackServerContext* context,
                                             const api::SetPathsRequest* request,
                                             api::Paths* response) {
  return OnLoop(loop_, context, [this, request, response](ServerUnaryReactor* reactor) {
    auto say = CheckPathSettings(request->say());
    absl::Status status = say.status();
    if (status.ok()) {
      status = controller_.SetPaths({.reset = request->reset(), .say = *std::move(say)});
    }
    if (!status.ok()) {
      reactor->Finish(ToGrpc(status));
      return;
    }
    controller_.WhenApplied([this, response, reactor] {
      controller_.RefreshInfo([this, response, reactor] {
        FillPaths(controller_, *response);
        reactor->Finish(grpc::Status::OK);
      });
    });
  });
}

ServerUnaryReactor* ControlService::ExplainPacket(CallbackServerContext* context,
                                                  const api::ExplainPacketRequest* request,
                                                  api::ExplainPacketResponse* response) {
  return OnLoop(loop_, context, [this, request, response](ServerUnaryReactor* reactor) {
    const auto ask = CheckExplain(*request);
    if (!ask.ok()) {
      reactor->Finish(ToGrpc(ask.status()));
      return;
    }
    controller_.dataplane().ExplainPacket(
        *ask, [this, response, reactor](const absl::StatusOr<dp::ExplainPacketResponse>& answer) {
          if (answer.ok()) FillExplanation(controller_, *answer, *response);
          reactor->Finish(ToGrpc(answer.status()));
        });
  });
}

grpc::ServerWriteReactor<api::TraceResult>* ControlService::Trace(
    CallbackServerContext* /*context*/, const api::TraceRequest* request) {
  return TraceCall::Start(loop_, controller_, *request);
}

}  // namespace omni
