// SPDX-License-Identifier: Apache-2.0
#include "controller/dataplane_client/stream.h"

#include <utility>

namespace omni {
namespace {

// LIMIT: some 50 ms of handshakes at full speed; a datagram that waits longer is of no use.
constexpr size_t kMaxOutgoing = 4096;

}  // namespace

// gRPC may run a callback before StartRead() or TryCancel() returns: the mutex is never held while
// one of them is called.

std::shared_ptr<DataplaneStream> DataplaneStream::Open(dataplane::v1::Dataplane::Stub& stub,
                                                       Handler handler) {
  std::shared_ptr<DataplaneStream> stream(new DataplaneStream(std::move(handler)));
  stream->self_ = stream;
  stub.async()->Stream(&stream->context_, stream.get());
  stream->AddHold();  // reads and writes are started from outside the callbacks
  stream->reading_ = true;
  stream->StartRead(&stream->incoming_);
  stream->StartCall();
  return stream;
}

void DataplaneStream::Read() {
  {
    const std::scoped_lock lock(mutex_);
    if (closed_ || reading_) return;
    reading_ = true;
  }
  StartRead(&incoming_);
}

void DataplaneStream::Write(dataplane::v1::StreamRequest request) {
  const dataplane::v1::StreamRequest* next = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    if (closed_ || outgoing_.size() >= kMaxOutgoing) return;
    outgoing_.push_back(std::move(request));
    if (writing_) return;
    writing_ = true;
    next = &outgoing_.front();  // a deque's elements stay where they are
  }
  StartWrite(next);
}

void DataplaneStream::Cancel() {
  {
    const std::scoped_lock lock(mutex_);
    closed_ = true;
  }
  context_.TryCancel();
  ReleaseWhenIdle();
}

void DataplaneStream::OnReadDone(bool ok) {
  bool deliver = false;
  {
    const std::scoped_lock lock(mutex_);
    reading_ = false;
    if (!ok) closed_ = true;
    deliver = !closed_;
  }
  if (deliver) handler_.on_message(incoming_);
  ReleaseWhenIdle();
}

void DataplaneStream::OnWriteDone(bool ok) {
  const dataplane::v1::StreamRequest* next = nullptr;
  {
    const std::scoped_lock lock(mutex_);
    outgoing_.pop_front();
    if (!ok) closed_ = true;
    if (!closed_ && !outgoing_.empty()) next = &outgoing_.front();
    writing_ = next != nullptr;
  }
  if (next != nullptr) StartWrite(next);
  ReleaseWhenIdle();
}

// Lets gRPC finish the call once nothing more will be started.
void DataplaneStream::ReleaseWhenIdle() {
  {
    const std::scoped_lock lock(mutex_);
    if (!closed_ || reading_ || writing_ || !held_) return;
    held_ = false;
  }
  RemoveHold();
}

void DataplaneStream::OnDone(const grpc::Status& status) {
  // The handler may destroy this stream elsewhere before it returns.
  const auto on_done = std::move(handler_.on_done);
  on_done(status, std::move(self_));
}

}  // namespace omni
