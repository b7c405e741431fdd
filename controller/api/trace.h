// SPDX-License-Identifier: Apache-2.0
// TraceCall: one Trace of the management API: asks the dataplane again and again and streams what
// it gets. Owned by itself until gRPC is done with it; works on the event loop, gRPC's callbacks
// only post there.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/api/arguments.h"
#include "controller/core/controller.h"
#include "omni/control/v1/control.pb.h"

namespace omni {

class TraceCall : public grpc::ServerWriteReactor<control::v1::TraceResult>,
                  public std::enable_shared_from_this<TraceCall> {
 public:
  static TraceCall* Start(boost::asio::io_context& loop, Controller& controller,
                          const control::v1::TraceRequest& request);

 private:
  TraceCall(boost::asio::io_context& loop, Controller& controller,
            const control::v1::TraceRequest& request)
      : loop_(loop), controller_(controller), request_(request), timer_(loop) {}

  // gRPC's threads
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // The loop
  void Begin();
  void Ask();
  void Take(const absl::StatusOr<dataplane::v1::ReadTraceResponse>& answer);
  void WriteNext();
  void End(const grpc::Status& status);

  boost::asio::io_context& loop_;
  Controller& controller_;
  const control::v1::TraceRequest request_;
  boost::asio::steady_timer timer_;
  std::shared_ptr<TraceCall> self_;  // until OnDone

  TracePlan plan_;
  std::deque<dataplane::v1::TracedPacket> waiting_;
  control::v1::TraceResult result_;
  uint32_t told_ = 0;
  bool said_last_ = false;
  bool ended_ = false;
};

}  // namespace omni
