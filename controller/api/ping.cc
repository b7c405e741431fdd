// SPDX-License-Identifier: Apache-2.0
#include "controller/api/ping.h"

#include <fmt/format.h>

#include <utility>

#include <boost/asio/post.hpp>

#include "common/status.h"
#include "controller/api/views.h"

namespace omni {

namespace asio = boost::asio;

namespace {

// LIMIT: one may be lost on any path.
constexpr uint32_t kLostBeforeHandshake = 2;

}  // namespace

using std::chrono::steady_clock;

PingCall* PingCall::Start(asio::io_context& loop, Controller& controller,
                          const control::v1::PingRequest& request) {
  const std::shared_ptr<PingCall> call(new PingCall(loop, controller, request));
  call->self_ = call;
  asio::post(loop, [call] { call->Begin(); });
  return call.get();
}

void PingCall::OnWriteDone(bool ok) {
  asio::post(loop_, [self = shared_from_this(), ok] {
    if (self->ended_) return;
    if (!ok) {
      self->End(grpc::Status::CANCELLED);
    } else if (self->sequence_ == self->plan_.count) {
      self->End(grpc::Status::OK);
    } else {
      self->After(self->sent_ + self->plan_.interval, [](PingCall& call) { call.Next(); });
    }
  });
}

void PingCall::OnCancel() {
  asio::post(loop_, [self = shared_from_this()] { self->End(grpc::Status::CANCELLED); });
}

void PingCall::OnDone() {
  // Dies on the loop, where its timer lives.
  asio::post(loop_, [self = std::move(self_)] {});
}

template <typename Action>
void PingCall::After(steady_clock::time_point when, Action action) {
  timer_.expires_at(when);
  timer_.async_wait([self = shared_from_this(), action](const boost::system::error_code& error) {
    if (!error && !self->ended_) action(*self);
  });
}

void PingCall::Begin() {
  const auto plan = CheckPing(request_);
  const auto peer = LookUpPeer(controller_.peers(), request_.peer());
  const absl::Status status = peer.ok() ? plan.status() : peer.status();
  if (!status.ok()) {
    End(ToGrpc(status));
    return;
  }
  if ((*peer)->revoked) {
    End({grpc::StatusCode::FAILED_PRECONDITION, "peer: it is " + (*peer)->last_error});
    return;
  }
  plan_ = *plan;
  peer_ = (*peer)->id();
  Next();
}

void PingCall::Next() {
  if (controller_.node_state() == NodeState::kDown) {
    End({grpc::StatusCode::FAILED_PRECONDITION, "the node is down: omnictl up"});
    return;
  }
  result_.Clear();
  ++sequence_;
  sent_ = steady_clock::now();
  waiting_ = true;
  After(sent_ + plan_.timeout, [](PingCall& call) { call.OnTimeout(); });
  TrySend();
}

void PingCall::TrySend() {
  if (ended_ || !waiting_) return;
  token_ = controller_.SendEcho(
      peer_, plan_.padding,
      [self = shared_from_this(), sequence = sequence_](const absl::StatusOr<Duration>& rtt) {
        if (!self->ended_ && self->waiting_ && sequence == self->sequence_) self->OnEcho(rtt);
      });
}

void PingCall::OnEcho(const absl::StatusOr<Duration>& rtt) {
  if (rtt.ok()) {
    lost_in_a_row_ = 0;
    *result_.mutable_rtt() = ToProto(*rtt);
    const Peer* peer = controller_.peers().Find(peer_);
    const auto kind = peer == nullptr ? std::nullopt : controller_.PathOf(*peer);
    if (kind) {
      result_.set_path_kind(std::string(Name(*kind)));
      result_.set_endpoint(peer->endpoint.ToString());
    }
    WriteResult();
    return;
  }
  const bool no_session = rtt.status().code() == absl::StatusCode::kFailedPrecondition;
  const bool awaits =
      no_session && controller_.AwaitSession(peer_, [weak = weak_from_this(), n = sequence_] {
        const auto self = weak.lock();
        if (self && self->sequence_ == n) self->TrySend();
      });
  if (awaits) {
    controller_.Initiate(peer_);
  } else if (controller_.peers().Find(peer_) == nullptr) {
    End({grpc::StatusCode::NOT_FOUND, "peer: was removed"});
  } else {
    End(ToGrpc(rtt.status()));
  }
}

void PingCall::OnTimeout() {
  controller_.LoseEcho(peer_, token_);
  const Peer* peer = controller_.peers().Find(peer_);
  if (peer == nullptr) {
    End({grpc::StatusCode::NOT_FOUND, "peer: was removed"});
    return;
  }
  // A peer that was down has forgotten the session, and the dataplane waits for no answer to
  // echoes.
  if (peer->has_confirmed_session() && ++lost_in_a_row_ == kLostBeforeHandshake) {
    controller_.Initiate(peer_);
  }
  std::string why = "no answer";
  if (!peer->has_confirmed_session()) {
    why = peer->last_error.empty() ? "no session: the handshake is not answered" : peer->last_error;
  }
  result_.set_lost(
      fmt::format("{} within {} ms", why,
                  std::chrono::duration_cast<std::chrono::milliseconds>(plan_.timeout).count()));
  WriteResult();
}

void PingCall::WriteResult() {
  waiting_ = false;
  timer_.cancel();
  result_.set_sequence(sequence_);
  StartWrite(&result_);
}

void PingCall::End(const grpc::Status& status) {
  if (std::exchange(ended_, true)) return;
  timer_.cancel();
  controller_.ForgetEcho(token_);
  Finish(status);
}

}  // namespace omni
