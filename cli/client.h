// SPDX-License-Identifier: Apache-2.0
// Client: a connection to the controller's management API. Connects on construction, because a
// socket that is missing, closed or forbidden deserves an error that says so, before gRPC turns it
// into "failed to connect to all addresses". Made by one command, used by one thread. Every
// failure is a CommandError.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>

#include "cli/context.h"
#include "omni/control/v1/control.grpc.pb.h"

namespace omni {

namespace api = ::omni::control::v1;

class Client {
 public:
  explicit Client(const Context& context);

  // client.Call(&Stub::GetStatus, request)
  template <typename Request, typename Response>
  Response Call(grpc::Status (api::Control::Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                const Request& request) {
    grpc::ClientContext call;
    call.set_deadline(Deadline());
    Response response;
    Check((stub_.get()->*method)(&call, request, &response));
    return response;
  }

  api::Control::Stub& stub() { return *stub_; }
  // Throws what fits unless `status` is OK.
  void Check(const grpc::Status& status) const;
  std::chrono::system_clock::time_point Deadline() const;

 private:
  std::string socket_;
  std::chrono::duration<double> timeout_;
  std::unique_ptr<api::Control::Stub> stub_;
};

using Stub = api::Control::Stub;

}  // namespace omni
