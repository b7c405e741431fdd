// SPDX-License-Identifier: Apache-2.0
#include "controller/core/state_sync.h"

#include <algorithm>

#include "common/log.h"
#include "common/status.h"
#include "controller/core/convert.h"

namespace omni {

namespace dp = dataplane::v1;

void StateSync::MarkPeer(const NodeId& id, PushEndpoint endpoint) {
  PushEndpoint& marked = changed_.try_emplace(id, endpoint).first->second;
  if (endpoint == PushEndpoint::kYes) marked = endpoint;
  removed_.erase(id);
}

void StateSync::MarkRemoved(const NodeId& id) {
  changed_.erase(id);
  removed_.insert(id);
}

void StateSync::Stop() {
  ++connection_;
  ready_ = false;
  in_flight_ = false;
}

void StateSync::PushFull(uint64_t theirs, const EndpointFor& endpoint) {
  Stop();
  node_changed_ = false;
  changed_.clear();
  removed_.clear();
  dp::ApplyStateRequest request;
  pushed_ = std::max(theirs, pushed_) + 1;
  request.set_generation(pushed_);
  *request.mutable_full()->mutable_node() = hooks_.node();
  for (const auto& [name, peer] : peers_) {
    if (hidden_ || peer->revoked) continue;
    FillPeer(*peer, endpoint(*peer), *request.mutable_full()->add_peers());
  }
  Push(std::move(request));
}

void StateSync::Flush() {
  if (!ready_ || in_flight_) return;
  if (hidden_) {
    changed_.clear();
    removed_.clear();
  }
  if (!node_changed_ && changed_.empty() && removed_.empty()) return;
  dp::ApplyStateRequest request;
  pushed_ = std::max(applied_, pushed_) + 1;
  request.set_generation(pushed_);
  request.set_base_generation(applied_);
  dp::StateDelta& delta = *request.mutable_delta();
  if (node_changed_) *delta.mutable_node() = hooks_.node();
  for (const auto& [id, push] : changed_) {
    const Peer* peer = peers_.Find(id);
    if (peer == nullptr || peer->revoked) continue;
    const bool tell = push == PushEndpoint::kYes && peer->spec.endpoint.is_set();
    FillPeer(*peer, tell ? std::optional(peer->spec.endpoint) : std::nullopt, *delta.add_upsert());
  }
  for (const NodeId& id : removed_) delta.add_remove(id.ToBytes());
  node_changed_ = false;
  changed_.clear();
  removed_.clear();
  Push(std::move(request));
}

void StateSync::FillPeer(const Peer& peer, const std::optional<Endpoint>& endpoint,
                         dp::Peer& out) const {
  out.set_peer_id(peer.id().ToBytes());
  for (const IpPrefix& prefix : peer.spec.allowed) ToProto(prefix, *out.add_allowed());
  if (endpoint && endpoint->is_set()) ToProto(*endpoint, *out.mutable_endpoint());
  out.set_persistent_keepalive_s(peer.spec.keepalive_s);
}

void StateSync::Push(dp::ApplyStateRequest request) {
  in_flight_ = true;
  dataplane_.ApplyState(request, [this, connection = connection_](
                                     const absl::StatusOr<dp::ApplyStateResponse>& response) {
    if (connection == connection_) OnPushed(response);
  });
}

void StateSync::OnPushed(const absl::StatusOr<dp::ApplyStateResponse>& response) {
  in_flight_ = false;
  if (response.ok()) {
    error_.clear();
    ready_ = true;
    applied_ = pushed_;
    Flush();
    if (!in_flight_) hooks_.applied();
    return;
  }
  // What was refused is still wanted: the next push must be a full one.
  error_ = "apply state: " + std::string(Message(response.status()));
  spdlog::error("dataplane: {}", error_);
  ready_ = false;
  if (response.status().code() == absl::StatusCode::kFailedPrecondition) hooks_.lost();
}

}  // namespace omni
