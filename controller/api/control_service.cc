// SPDX-License-Identifier: Apache-2.0
#include "controller/api/control_service.h"

#include <map>
#include <utility>

#include <boost/asio/post.hpp>

#include "common/status.h"
#include "controller/api/arguments.h"
#include "controller/api/ping.h"
#include "controller/api/views.h"
#include "controller/core/peer_request.h"

namespace omni {
namespace {

namespace api = control::v1;
namespace dp = dataplane::v1;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

// Runs `work` on the loop; it calls Finish() on the reactor, then or later. Request and response
// live until then, also when the caller has gone.
template <typename Work>
ServerUnaryReactor* OnLoop(boost::asio::io_context& loop, CallbackServerContext* context,
                           Work work) {
  ServerUnaryReactor* reactor = context->DefaultReactor();
  boost::asio::post(loop, [reactor, work = std::move(work)] { work(reactor); });
  return reactor;
}

using CountersById = std::map<std::string, const dp::PeerCounters*>;
CountersById ById(const dp::GetCountersResponse& counters) {
  CountersById out;
  for (const dp::PeerCounters& peer : counters.peers()) out.emplace(peer.peer_id(), &peer);
  return out;
}

const dp::PeerCounters* CountersOf(const CountersById& counters, const Peer& peer) {
  const auto found = counters.find(peer.id().ToBytes());
  return found == counters.end() ? nullptr : found->second;
}

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

grpc::ServerWriteReactor<api::PingResult>* ControlService::Ping(CallbackServerContext* /*context*/,
                                                                const api::PingRequest* request) {
  return PingCall::Start(loop_, controller_, *request);
}

}  // namespace omni
