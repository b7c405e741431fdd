// SPDX-License-Identifier: Apache-2.0
// What tests of the control API start from.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>

#include "common/rpc/unix_server.h"
#include "controller/api/control_service.h"
#include "controller/core/testing.h"

namespace omni {

// A node "a" with the peer "b" behind a real gRPC server.
class ServedControllerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    a_.AddToConfig(b_.Spec());
    b_.AddToConfig(a_.Spec());
    for (TestNode* node : {&a_, &b_}) {
      ASSERT_TRUE(node->StartController().ok());
      node->dataplane.Connect();
    }
    ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected() && b_.Connected(); }));
    service_ = std::make_unique<ControlService>(loop_.io, *a_.controller);
    const std::string socket = a_.directory.path() + "/api.sock";
    auto listener = UnixListener::Open({.path = socket});
    ASSERT_TRUE(listener.ok()) << listener.status();
    auto server = UnixServer::Start(*std::move(listener), {}, {service_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials());
    stub_ = control::v1::Control::NewStub(channel_);
  }
  void TearDown() override {
    if (!server_) return;
    // The loop must run while the server stops.
    auto stopped = std::async(std::launch::async, [this] { server_->Stop(); });
    ASSERT_TRUE(Wait(stopped));
  }

  template <typename Future>
  bool Wait(Future& future) {
    return loop_.RunUntil(
        [&] { return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready; });
  }
  // A blocking call, while the loop runs.
  template <typename Request, typename Response>
  grpc::Status Call(grpc::Status (control::v1::Control::Stub::*method)(grpc::ClientContext*,
                                                                       const Request&, Response*),
                    const Request& request, Response& response) {
    auto done = std::async(std::launch::async, [&] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(15));
      return (stub_.get()->*method)(&context, request, &response);
    });
    EXPECT_TRUE(Wait(done));
    return done.get();
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
  TestNode c_{loop_, "c", 3};  // whom a does not know
  std::unique_ptr<ControlService> service_;
  std::unique_ptr<UnixServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<control::v1::Control::Stub> stub_;
};

}  // namespace omni
