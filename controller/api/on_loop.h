// SPDX-License-Identifier: Apache-2.0
// OnLoop: how a call of gRPC's threads is answered on the event loop.
#pragma once

#include <grpcpp/grpcpp.h>

#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

namespace omni {

// Runs `work` on the loop; it calls Finish() on the reactor, then or later. Request and response
// live until then, also when the caller has gone.
template <typename Work>
grpc::ServerUnaryReactor* OnLoop(boost::asio::io_context& loop,
                                 grpc::CallbackServerContext* context, Work work) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  boost::asio::post(loop, [reactor, work = std::move(work)] { work(reactor); });
  return reactor;
}

}  // namespace omni
