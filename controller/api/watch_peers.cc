// SPDX-License-Identifier: Apache-2.0
#include "controller/api/watch_peers.h"

#include <utility>

#include <boost/asio/post.hpp>

#include "common/status.h"
#include "controller/api/views.h"

namespace omni {
namespace {

namespace asio = boost::asio;
namespace dp = dataplane::v1;

// LIMIT: ten times a second look like at once to a person; a look at 10,000 peers takes a few ms.
constexpr std::chrono::milliseconds kInterval{100};
// LIMIT: who wants more watches once and tells the others.
constexpr size_t kMaxCalls = 64;

}  // namespace

WatchPeersCall* WatchPeersCall::Start(asio::io_context& loop, Controller& controller,
                                      std::shared_ptr<size_t> watching,
                                      const control::v1::WatchPeersRequest& request) {
  const std::shared_ptr<WatchPeersCall> call(
      new WatchPeersCall(loop, controller, std::move(watching), request));
  call->self_ = call;
  asio::post(loop, [call] { call->Begin(); });
  return call.get();
}

void WatchPeersCall::OnWriteDone(bool ok) {
  asio::post(loop_, [self = shared_from_this(), ok] {
    if (self->ended_) return;
    if (ok) {
      self->WriteNext();
    } else {
      self->End(grpc::Status::CANCELLED);
    }
  });
}

void WatchPeersCall::OnCancel() {
  asio::post(loop_, [self = shared_from_this()] { self->End(grpc::Status::CANCELLED); });
}

void WatchPeersCall::OnDone() {
  // Dies on the loop, where its timer lives.
  asio::post(loop_, [self = std::move(self_)] {});
}

void WatchPeersCall::Begin() {
  if (*watching_ >= kMaxCalls) {
    End({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls watch peers already"});
    return;
  }
  ++*watching_;
  is_counted_ = true;
  Look();
}

WatchPeersCall::Seen WatchPeersCall::See(const Peer& peer) const {
  Seen seen{.name = peer.spec.name,
            .spec_number = peer.spec_number,
            .state = controller_.StateOf(peer),
            .path = controller_.PathOf(peer),
            .endpoint = peer.endpoint,
            .record = 0,
            .last_error = peer.last_error,
            .cipher = peer.cipher};
  if (!controller_.IsRelayed(peer)) return seen;
  const auto learned = controller_.learned().find(peer.id());
  if (learned != controller_.learned().end()) seen.record = learned->second.record.sequence;
  return seen;
}

void WatchPeersCall::Compare(const Peer& peer) {
  using pb = control::v1::PeerChange;
  Seen now = See(peer);
  const auto [entry, fresh] = seen_.try_emplace(peer.id(), now);
  if (!fresh && entry->second == now) return;
  entry->second = std::move(now);
  const auto added = is_first_ ? pb::KIND_PRESENT : pb::KIND_ADDED;
  waiting_.push_back({peer.id(), fresh ? added : pb::KIND_CHANGED, ""});
}

void WatchPeersCall::FindRemoved() {
  const auto is_gone = [this](const NodeId& id) {
    const Peer* peer = controller_.peers().Find(id);
    return peer == nullptr || (!wanted_.empty() && controller_.peers().Find(wanted_) != peer);
  };
  for (auto entry = seen_.begin(); entry != seen_.end();) {
    if (!is_gone(entry->first)) {
      ++entry;
      continue;
    }
    waiting_.push_back(
        {entry->first, control::v1::PeerChange::KIND_REMOVED, std::move(entry->second.name)});
    entry = seen_.erase(entry);
  }
}

void WatchPeersCall::Look() {
  FindRemoved();
  if (wanted_.empty()) {
    for (const auto& [name, peer] : controller_.peers()) Compare(*peer);
  } else if (const Peer* peer = controller_.peers().Find(wanted_)) {
    Compare(*peer);
  }
  is_first_ = false;
  if (waiting_.empty()) return LookLater();
  controller_.dataplane().GetCounters(
      [self = shared_from_this()](const absl::StatusOr<dp::GetCountersResponse>& counters) {
        if (self->ended_) return;
        self->counters_ = counters.ok() ? *counters : dp::GetCountersResponse();
        self->by_id_ = ById(self->counters_);
        self->WriteNext();
      });
}

void WatchPeersCall::LookLater() {
  timer_.expires_after(kInterval);
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error && !self->ended_) self->Look();
  });
}

void WatchPeersCall::WriteNext() {
  while (!waiting_.empty()) {
    const Change change = std::move(waiting_.front());
    waiting_.pop_front();
    result_.Clear();
    result_.set_kind(change.kind);
    const Peer* peer = controller_.peers().Find(change.id);
    if (change.kind == control::v1::PeerChange::KIND_REMOVED) {
      result_.mutable_peer()->set_name(change.name);
      result_.mutable_peer()->set_node_id(change.id.ToString());
    } else if (peer != nullptr) {
      FillPeer(controller_, *peer, CountersOf(by_id_, *peer), *result_.mutable_peer());
    } else {
      continue;  // it went meanwhile: the next look tells
    }
    StartWrite(&result_);
    return;
  }
  LookLater();
}

void WatchPeersCall::End(const grpc::Status& status) {
  if (std::exchange(ended_, true)) return;
  timer_.cancel();
  Finish(status);
}

}  // namespace omni
