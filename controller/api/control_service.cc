// SPDX-License-Identifier: Apache-2.0
#include "controller/api/control_service.h"

#include <map>
#include <utility>

#include "common/status.h"
#include "controller/api/arguments.h"
#include "controller/api/on_loop.h"
#include "controller/api/peer_counters.h"
#include "controller/api/ping.h"
#include "controller/api/views.h"
#include "controller/api/watch_peers.h"
#include "controller/core/peer_request.h"

namespace omni {
namespace {

namespace api = control::v1;
namespace dp = dataplane::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

}  // namespace

ServerUnaryReactor* ControlService::GetStatus(CallbackServerContext* context,
                                              const api::GetStatusRequest* /*request*/,
                                              api::GetStatusResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    controller_.RefreshInfo([this, response, reactor] {
      FillStatus(controller_, *response);
      reactor->Finish(grpc::Status::OK);
    });
  });
}

ServerUnaryReactor* ControlService::SetNodeState(CallbackServerContext* context,
                                                 const api::SetNodeStateRequest* request,
                                                 api::SetNodeStateResponse* /*response*/) {
  return OnLoop(loop_, context, [this, request](ServerUnaryReactor* reactor) {
    if (request->state() != api::NODE_STATE_UP && request->state() != api::NODE_STATE_DOWN) {
      reactor->Finish({grpc::StatusCode::INVALID_ARGUMENT, "state: is neither up nor down"});
      return;
    }
    const absl::Status status = controller_.SetNodeState(
        request->state() == api::NODE_STATE_UP ? NodeState::kUp : NodeState::kDown);
    if (!status.ok()) {
      reactor->Finish(ToGrpc(status));
      return;
    }
    controller_.WhenApplied([reactor] { reactor->Finish(grpc::Status::OK); });
  });
}

ServerUnaryReactor* ControlService::ListPeers(CallbackServerContext* context,
                                              const api::ListPeersRequest* /*request*/,
                                              api::ListPeersResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    // Peers are worth listing while the dataplane is away.
    controller_.dataplane().GetCounters(
        [this, response, reactor](const absl::StatusOr<dp::GetCountersResponse>& counters) {
          const CountersById by_id = counters.ok() ? ById(*counters) : CountersById();
          for (const auto& [name, peer] : controller_.peers()) {
            FillPeer(controller_, *peer, CountersOf(by_id, *peer), *response->add_peers());
          }
          reactor->Finish(grpc::Status::OK);
        });
  });
}

ServerUnaryReactor* ControlService::GetPeer(CallbackServerContext* context,
                                            const api::GetPeerRequest* request,
                                            api::Peer* response) {
  return OnLoop(loop_, context, [this, request, response](ServerUnaryReactor* reactor) {
    controller_.dataplane().GetCounters(
        [this, request, response,
         reactor](const absl::StatusOr<dp::GetCountersResponse>& counters) {
          const auto peer = LookUpPeer(controller_.peers(), request->peer());
          if (peer.ok()) {
            const CountersById by_id = counters.ok() ? ById(*counters) : CountersById();
            FillPeer(controller_, **peer, CountersOf(by_id, **peer), *response);
          }
          reactor->Finish(ToGrpc(peer.status()));
        });
  });
}

ServerUnaryReactor* ControlService::AddPeer(CallbackServerContext* context,
                                            const api::AddPeerRequest* request,
                                            api::Peer* response) {
  return OnLoop(loop_, context, [this, request, response](ServerUnaryReactor* reactor) {
    auto spec = CheckPeerRequest(*request, controller_.config().addresses);
    if (!spec.ok()) {
      reactor->Finish(ToGrpc(spec.status()));
      return;
    }
    const auto peer = controller_.AddPeer(*std::move(spec));
    if (peer.ok()) FillPeer(controller_, **peer, nullptr, *response);
    reactor->Finish(ToGrpc(peer.status()));
  });
}

ServerUnaryReactor* ControlService::RemovePeer(CallbackServerContext* context,
                                               const api::RemovePeerRequest* request,
                                               api::RemovePeerResponse* /*response*/) {
  return OnLoop(loop_, context, [this, request](ServerUnaryReactor* reactor) {
    const auto peer = LookUpPeer(controller_.peers(), request->peer());
    reactor->Finish(ToGrpc(peer.ok() ? controller_.RemovePeer((*peer)->spec.name) : peer.status()));
  });
}

ServerUnaryReactor* ControlService::ListSessions(CallbackServerContext* context,
                                                 const api::ListSessionsRequest* /*request*/,
                                                 api::ListSessionsResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    controller_.dataplane().GetState(
        [this, response, reactor](const absl::StatusOr<dp::GetStateResponse>& state) {
          if (!state.ok()) {
            reactor->Finish(ToGrpc(state.status()));
            return;
          }
          std::map<std::string, const dp::PeerState*> by_id;
          for (const dp::PeerState& peer : state->peers()) by_id.emplace(peer.peer_id(), &peer);
          for (const auto& [name, peer] : controller_.peers()) {
            const auto found = by_id.find(peer->id().ToBytes());
            if (found == by_id.end()) continue;
            for (const dp::SessionState& session : found->second->sessions()) {
              FillSession(*peer, session, *response->add_sessions());
            }
          }
          reactor->Finish(grpc::Status::OK);
        });
  });
}

ServerUnaryReactor* ControlService::GetNucleus(CallbackServerContext* context,
                                               const api::GetNucleusRequest* /*request*/,
                                               api::GetNucleusResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    FillNucleus(controller_, *response);
    reactor->Finish(grpc::Status::OK);
  });
}

ServerUnaryReactor* ControlService::CheckNetwork(CallbackServerContext* context,
                                                 const api::CheckNetworkRequest* /*request*/,
                                                 api::CheckNetworkResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    controller_.CheckNetwork([this, response, reactor] {
      FillNetwork(controller_, *response);
      reactor->Finish(grpc::Status::OK);
    });
  });
}

ServerUnaryReactor* ControlService::ReleaseAddresses(
    CallbackServerContext* context, const api::ReleaseAddressesRequest* /*request*/,
    api::ReleaseAddressesResponse* /*response*/) {
  return OnLoop(loop_, context, [this](ServerUnaryReactor* reactor) {
    reactor->Finish(ToGrpc(controller_.ReleaseAddresses()));
  });
}

ServerUnaryReactor* ControlService::GetDrops(CallbackServerContext* context,
                                             const api::GetDropsRequest* /*request*/,
                                             api::GetDropsResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    controller_.dataplane().GetCounters(
        [response, reactor](const absl::StatusOr<dp::GetCountersResponse>& counters) {
          if (counters.ok()) {
            for (const dp::Counter& counter : counters->drops()) {
              api::Drop& drop = *response->add_drops();
              drop.set_reason(counter.name());
              drop.set_help(counter.help());
              drop.set_packets(counter.value());
            }
          }
          reactor->Finish(ToGrpc(counters.status()));
        });
  });
}

ServerUnaryReactor* ControlService::Reload(CallbackServerContext* context,
                                           const api::ReloadRequest* /*request*/,
                                           api::ReloadResponse* response) {
  return OnLoop(loop_, context, [this, response](ServerUnaryReactor* reactor) {
    const auto result = controller_.Reload();
    if (result.ok()) {
      response->set_peers_added(result->added);
      response->set_peers_removed(result->removed);
      response->set_peers_changed(result->changed);
    }
    reactor->Finish(ToGrpc(result.status()));
  });
}

grpc::ServerWriteReactor<api::PeerChange>* ControlService::WatchPeers(
    CallbackServerContext* /*context*/, const api::WatchPeersRequest* request) {
  return WatchPeersCall::Start(loop_, controller_, watching_, *request);
}

grpc::ServerWriteReactor<api::PingResult>* ControlService::Ping(CallbackServerContext* /*context*/,
                                                                const api::PingRequest* request) {
  return PingCall::Start(loop_, controller_, *request);
}

}  // namespace omni
