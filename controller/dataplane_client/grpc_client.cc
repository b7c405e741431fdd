// SPDX-License-Identifier: Apache-2.0
#include "controller/dataplane_client/grpc_client.h"

#include <fmt/format.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <map>
#include <mutex>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controller/dataplane_client/stream.h"
#include "omni/dataplane/v1/dataplane.grpc.pb.h"

namespace omni {
namespace {

namespace asio = boost::asio;
using dataplane::v1::Dataplane;
using Async = Dataplane::StubInterface::async_interface;
using std::chrono::milliseconds;

// LIMIT: a restarted dataplane is back within 2 s of its crash: gRPC's own back-off starts at 1 s.
constexpr milliseconds kMinBackoff{50};
constexpr milliseconds kMaxBackoff{1000};
// LIMIT: a local daemon answers in microseconds; what takes 5 s is stuck.
constexpr milliseconds kCallTimeout{5000};

// A unary call under way: all that gRPC uses until it is done, and what keeps the channel alive.
struct PendingCall {
  virtual ~PendingCall() = default;
  grpc::ClientContext context;
  std::shared_ptr<Dataplane::Stub> stub;  // a reconnection may replace the client's
};

template <typename Request, typename Response>
struct TypedCall : PendingCall {
  Request in;
  Response out;
  DataplaneClient::Callback<Response> done;
};

absl::Status ToStatus(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

}  // namespace

// Channels, and all that holds one (stubs, contexts, streams), are let go on the loop alone. Where
// the last one goes, gRPC 1.51 joins the threads that run its callbacks; on one of these it would
// join itself and free what it runs on.
class GrpcDataplaneClient::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(asio::io_context& loop, std::string socket)
      : loop_(loop), socket_(std::move(socket)), timer_(loop) {}

  void Start(DataplaneListener* listener) {
    listener_ = listener;
    Connect();
  }

  void Close() {
    timer_.cancel();
    std::map<uint64_t, std::shared_ptr<PendingCall>> calls;
    {
      const std::scoped_lock lock(mutex_);
      calls = calls_;
    }
    for (const auto& [number, call] : calls) call->context.TryCancel();
    if (stream_) stream_->Cancel();
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return calls_.empty() && !stream_open_; });
  }

  void SendPacket(const dataplane::v1::PacketOut& packet) {
    if (!stream_ || !said_hello_) return;
    dataplane::v1::StreamRequest request;
    *request.mutable_packet_out() = packet;
    stream_->Write(std::move(request));
  }

  template <typename Request, typename Response>
  void Call(void (Async::*method)(grpc::ClientContext*, const Request*, Response*,
                                  std::function<void(grpc::Status)>),
            const Request& request, Callback<Response> done) {
    if (!stub_) {
      asio::post(loop_, [weak = weak_from_this(), done = std::move(done)] {
        if (weak.lock()) done(absl::UnavailableError("the dataplane is not connected"));
      });
      return;
    }
    const auto call = std::make_shared<TypedCall<Request, Response>>();
    call->context.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    call->stub = stub_;
    call->in = request;
    call->done = std::move(done);
    const uint64_t number = ++call_number_;
    {
      const std::scoped_lock lock(mutex_);
      calls_.emplace(number, call);
    }
    const auto finish = [this, number](const grpc::Status& status) {
      const std::scoped_lock lock(mutex_);
      auto ended = std::static_pointer_cast<TypedCall<Request, Response>>(
          std::move(calls_.extract(number).mapped()));
      asio::post(loop_, [weak = weak_from_this(), ended = std::move(ended), status] {
        if (!weak.lock()) return;
        if (status.ok()) {
          ended->done(std::move(ended->out));
        } else {
          ended->done(ToStatus(status));
        }
      });
      idle_.notify_all();  // under the lock: the waiter destroys this condition variable
    };
    (call->stub->async()->*method)(&call->context, &call->in, &call->out, finish);
  }

 private:
  void Connect() {
    grpc::ChannelArguments arguments;
    // A channel of its own for each try: a shared subchannel would carry its back-off along.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    stub_ = Dataplane::NewStub(grpc::CreateCustomChannel(
        "unix:" + socket_, grpc::InsecureChannelCredentials(), arguments));
    said_hello_ = false;
    {
      const std::scoped_lock lock(mutex_);
      stream_open_ = true;
    }
    const uint64_t number = ++stream_number_;
    stream_ = DataplaneStream::Open(
        *stub_,
        {.on_message =
             [this, number](const dataplane::v1::StreamResponse& message) {
               asio::post(loop_, [weak = weak_from_this(), number, message] {
                 const auto self = weak.lock();
                 if (self && number == self->stream_number_) self->OnMessage(message);
               });
             },
         .on_done =
             [this, number](const grpc::Status& status, std::shared_ptr<DataplaneStream> stream) {
               const std::scoped_lock lock(mutex_);
               asio::post(loop_,
                          [weak = weak_from_this(), number, status, stream = std::move(stream)] {
                            const auto self = weak.lock();
                            if (self && number == self->stream_number_) self->OnStreamDone(status);
                          });
               stream_open_ = false;
               idle_.notify_all();
             }});
    ArmTimer(kCallTimeout, [](Impl& self) {
      if (!self.said_hello_ && self.stream_) self.stream_->Cancel();
    });
  }

  void OnMessage(const dataplane::v1::StreamResponse& message) {
    using dataplane::v1::StreamResponse;
    if (message.message_case() == StreamResponse::kHello && !said_hello_) {
      said_hello_ = true;
      backoff_ = kMinBackoff;
      listener_->OnConnected(message.hello().boot_id());
    } else if (!said_hello_) {
      stream_->Cancel();
      return;
    } else if (message.message_case() == StreamResponse::kPacketIn) {
      listener_->OnPacketIn(message.packet_in());
    } else if (message.message_case() == StreamResponse::kEvent) {
      listener_->OnEvent(message.event());
    }
    if (stream_) stream_->Read();
  }

  void OnStreamDone(const grpc::Status& status) {
    stream_.reset();
    stub_.reset();
    const absl::Status why =
        status.ok() ? absl::UnavailableError("the dataplane closed the stream") : ToStatus(status);
    listener_->OnDisconnected(why);
    ArmTimer(backoff_, [](Impl& self) { self.Connect(); });
    backoff_ = std::min(backoff_ * 2, kMaxBackoff);
  }

  template <typename Action>
  void ArmTimer(milliseconds delay, Action action) {
    timer_.expires_after(delay);
    timer_.async_wait([weak = weak_from_this(), action](const boost::system::error_code& error) {
      const auto self = weak.lock();
      if (!error && self) action(*self);
    });
  }

  asio::io_context& loop_;
  const std::string socket_;
  DataplaneListener* listener_ = nullptr;

  // On the loop.
  asio::steady_timer timer_;
  milliseconds backoff_ = kMinBackoff;
  std::shared_ptr<Dataplane::Stub> stub_;
  std::shared_ptr<DataplaneStream> stream_;
  uint64_t stream_number_ = 0;
  uint64_t call_number_ = 0;
  bool said_hello_ = false;

  // Of any thread: what gRPC still holds.
  std::mutex mutex_;
  std::condition_variable idle_;
  std::map<uint64_t, std::shared_ptr<PendingCall>> calls_;
  bool stream_open_ = false;
};

GrpcDataplaneClient::GrpcDataplaneClient(asio::io_context& loop, const std::string& socket)
    : impl_(std::make_shared<Impl>(loop, socket)) {}

GrpcDataplaneClient::~GrpcDataplaneClient() {
  try {
    impl_->Close();
  } catch (...) {
    // Out of memory or of locks: gRPC's threads still hold what would go away now.
    std::terminate();
  }
}

void GrpcDataplaneClient::Start(DataplaneListener* listener) { impl_->Start(listener); }

void GrpcDataplaneClient::GetInfo(Callback<dataplane::v1::GetInfoResponse> done) {
  impl_->Call(&Async::GetInfo, dataplane::v1::GetInfoRequest(), std::move(done));
}
void GrpcDataplaneClient::GetState(Callback<dataplane::v1::GetStateResponse> done) {
  impl_->Call(&Async::GetState, dataplane::v1::GetStateRequest(), std::move(done));
}
void GrpcDataplaneClient::ApplyState(const dataplane::v1::ApplyStateRequest& request,
                                     Callback<dataplane::v1::ApplyStateResponse> done) {
  impl_->Call(&Async::ApplyState, request, std::move(done));
}
void GrpcDataplaneClient::InstallSession(const dataplane::v1::InstallSessionRequest& request,
                                         Callback<dataplane::v1::InstallSessionResponse> done) {
  impl_->Call(&Async::InstallSession, request, std::move(done));
}
void GrpcDataplaneClient::RemoveSession(const dataplane::v1::RemoveSessionRequest& request,
                                        Callback<dataplane::v1::RemoveSessionResponse> done) {
  impl_->Call(&Async::RemoveSession, request, std::move(done));
}
void GrpcDataplaneClient::GetCounters(Callback<dataplane::v1::GetCountersResponse> done) {
  impl_->Call(&Async::GetCounters, dataplane::v1::GetCountersRequest(), std::move(done));
}
void GrpcDataplaneClient::GetStats(Callback<dataplane::v1::GetCountersResponse> done) {
  dataplane::v1::GetCountersRequest request;
  request.set_groups(true);
  impl_->Call(&Async::GetCounters, request, std::move(done));
}
void GrpcDataplaneClient::ExplainPacket(const dataplane::v1::ExplainPacketRequest& request,
                                        Callback<dataplane::v1::ExplainPacketResponse> done) {
  impl_->Call(&Async::ExplainPacket, request, std::move(done));
}
void GrpcDataplaneClient::ReadTrace(const dataplane::v1::ReadTraceRequest& request,
                                    Callback<dataplane::v1::ReadTraceResponse> done) {
  impl_->Call(&Async::ReadTrace, request, std::move(done));
}
void GrpcDataplaneClient::SendEcho(const dataplane::v1::SendEchoRequest& request,
                                   Callback<dataplane::v1::SendEchoResponse> done) {
  impl_->Call(&Async::SendEcho, request, std::move(done));
}
void GrpcDataplaneClient::TryPath(const dataplane::v1::TryPathRequest& request,
                                  Callback<dataplane::v1::TryPathResponse> done) {
  impl_->Call(&Async::TryPath, request, std::move(done));
}
void GrpcDataplaneClient::MovePeer(const dataplane::v1::MovePeerRequest& request,
                                   Callback<dataplane::v1::MovePeerResponse> done) {
  impl_->Call(&Async::MovePeer, request, std::move(done));
}
void GrpcDataplaneClient::OpenRelay(const dataplane::v1::OpenRelayRequest& request,
                                    Callback<dataplane::v1::OpenRelayResponse> done) {
  impl_->Call(&Async::OpenRelay, request, std::move(done));
}
void GrpcDataplaneClient::SendPacket(const dataplane::v1::PacketOut& packet) {
  impl_->SendPacket(packet);
}

}  // namespace omni
