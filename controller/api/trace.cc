// SPDX-License-Identifier: Apache-2.0
#include "controller/api/trace.h"

#include <sodium.h>

#include <utility>

#include <boost/asio/post.hpp>

#include "common/status.h"
#include "controller/api/views.h"

namespace omni {
namespace {

namespace asio = boost::asio;
namespace dp = dataplane::v1;

// LIMIT: ten times a second look like at once to a person; the dataplane keeps what comes between.
constexpr std::chrono::milliseconds kInterval{100};

}  // namespace

TraceCall* TraceCall::Start(asio::io_context& loop, Controller& controller,
                            const control::v1::TraceRequest& request) {
  const std::shared_ptr<TraceCall> call(new TraceCall(loop, controller, request));
  call->self_ = call;
  asio::post(loop, [call] { call->Begin(); });
  return call.get();
}

void TraceCall::OnWriteDone(bool ok) {
  asio::post(loop_, [self = shared_from_this(), ok] {
    if (self->ended_) return;
    if (!ok) {
      self->End(grpc::Status::CANCELLED);
    } else if (self->said_last_) {
      self->End(grpc::Status::OK);
    } else {
      self->WriteNext();
    }
  });
}

void TraceCall::OnCancel() {
  asio::post(loop_, [self = shared_from_this()] { self->End(grpc::Status::CANCELLED); });
}

void TraceCall::OnDone() {
  // Dies on the loop, where its timer lives.
  asio::post(loop_, [self = std::move(self_)] {});
}

void TraceCall::Begin() {
  auto plan = CheckTrace(controller_.peers(), request_);
  if (!plan.ok()) {
    End(ToGrpc(plan.status()));
    return;
  }
  plan_ = *std::move(plan);
  uint64_t token = 0;
  while (token == 0) randombytes_buf(&token, sizeof(token));
  plan_.ask.set_token(token);
  Ask();
}

void TraceCall::Ask() {
  controller_.dataplane().ReadTrace(
      plan_.ask, [self = shared_from_this()](const absl::StatusOr<dp::ReadTraceResponse>& answer) {
        if (!self->ended_) self->Take(answer);
      });
}

void TraceCall::Take(const absl::StatusOr<dp::ReadTraceResponse>& answer) {
  if (!answer.ok()) {
    End(ToGrpc(answer.status()));
    return;
  }
  result_.set_missed(answer->missed());
  result_.set_kernel_tx(answer->kernel_tx());
  result_.set_kernel_rx(answer->kernel_rx());
  waiting_.insert(waiting_.end(), answer->packets().begin(), answer->packets().end());
  WriteNext();
}

// One packet a message, then the next question.
void TraceCall::WriteNext() {
  if (told_ == plan_.packets) {
    said_last_ = true;
    result_.clear_packet();
    StartWrite(&result_);
  } else if (!waiting_.empty()) {
    ++told_;
    result_.mutable_packet()->Clear();
    FillTraced(controller_, waiting_.front(), *result_.mutable_packet());
    waiting_.pop_front();
    StartWrite(&result_);
  } else {
    timer_.expires_after(kInterval);
    timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
      if (!error && !self->ended_) self->Ask();
    });
  }
}

void TraceCall::End(const grpc::Status& status) {
  if (std::exchange(ended_, true)) return;
  timer_.cancel();
  Finish(status);
}

}  // namespace omni
