// SPDX-License-Identifier: Apache-2.0
// PingCall: one Ping of the management API: one echo at a time, each answered, lost, or waiting for
// a session within its timeout. Owned by itself until gRPC is done with it; works on the event
// loop, gRPC's callbacks only post there.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/api/arguments.h"
#include "controller/core/controller.h"
#include "omni/control/v1/control.pb.h"

namespace omni {

class PingCall : public grpc::ServerWriteReactor<control::v1::PingResult>,
                 public std::enable_shared_from_this<PingCall> {
 public:
  static PingCall* Start(boost::asio::io_context& loop, Controller& controller,
                         const control::v1::PingRequest& request);

 private:
  PingCall(boost::asio::io_context& loop, Controller& controller,
           const control::v1::PingRequest& request)
      : loop_(loop), controller_(controller), request_(request), timer_(loop) {}

  // gRPC's threads
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // The loop
  void Begin();
  void Next();
  void TrySend();
  void OnEcho(const absl::StatusOr<Duration>& rtt);
  void OnTimeout();
  void WriteResult();
  void End(const grpc::Status& status);
  template <typename Action>
  void After(std::chrono::steady_clock::time_point when, Action action);

  boost::asio::io_context& loop_;
  Controller& controller_;
  const control::v1::PingRequest request_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<PingCall> self_;  // until OnDone

  PingPlan plan_;
  NodeId peer_;
  control::v1::PingResult result_;
  uint32_t sequence_ = 0;
  uint64_t token_ = 0;
  uint32_t lost_in_a_row_ = 0;
  bool waiting_ = false;  // for an echo or a session
  bool ended_ = false;
  std::chrono::steady_clock::time_point sent_;
};

}  // namespace omni
