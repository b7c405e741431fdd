// SPDX-License-Identifier: Apache-2.0
// DataplaneStream: one Dataplane.Stream call. Reads one message at a time (the next only after the
// owner took the last, so that a flood waits in the dataplane, which drops and counts it) and
// queues writes. Owned jointly by the client and by gRPC until OnDone; its methods may be called
// from any thread, its handler is called on gRPC's.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "omni/dataplane/v1/dataplane.grpc.pb.h"

namespace omni {

class DataplaneStream
    : public grpc::ClientBidiReactor<dataplane::v1::StreamRequest, dataplane::v1::StreamResponse> {
 public:
  struct Handler {
    std::function<void(const dataplane::v1::StreamResponse&)> on_message;
    // The last call. Gets gRPC's share of the stream, to be let go on a thread that is not gRPC's.
    std::function<void(const grpc::Status&, std::shared_ptr<DataplaneStream>)> on_done;
  };

  static std::shared_ptr<DataplaneStream> Open(dataplane::v1::Dataplane::Stub& stub,
                                               Handler handler);

  // Asks for the next message. One at a time.
  void Read();
  // Dropped when the stream is closed or too many wait.
  void Write(dataplane::v1::StreamRequest request);
  // on_done follows.
  void Cancel();

 private:
  explicit DataplaneStream(Handler handler) : handler_(std::move(handler)) {}
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void ReleaseWhenIdle();

  Handler handler_;
  grpc::ClientContext context_;
  std::shared_ptr<DataplaneStream> self_;  // until OnDone
  dataplane::v1::StreamResponse incoming_;

  std::mutex mutex_;
  std::deque<dataplane::v1::StreamRequest> outgoing_;  // the front is being written
  bool reading_ = false;
  bool writing_ = false;
  bool closed_ = false;
  bool held_ = true;
};

}  // namespace omni
