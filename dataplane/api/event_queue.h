// SPDX-License-Identifier: Apache-2.0
// EventQueue: events on their way from the hub to the stream that is served. Bounded: control
// datagrams leave room for events, so that a flood of handshakes does not hide that a session
// ended.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "dataplane/hub/state.h"

namespace omni {

class EventQueue {
 public:
  // LIMIT: 1,024 control datagrams are a burst of all peers of a large node; 16,384 events a mass
  // expiry.
  static constexpr size_t kMaxDatagrams = 1024;
  static constexpr size_t kMaxEvents = 16384;

  // Gives false when there is no room or the queue is closed.
  bool Push(ControllerEvent event) {
    const std::lock_guard lock(mutex_);
    const bool datagram = std::holds_alternative<PacketInEvent>(event);
    if (closed_ || events_.size() >= (datagram ? kMaxDatagrams : kMaxEvents)) return false;
    events_.push_back(std::move(event));
    changed_.notify_one();
    return true;
  }

  // Waits for an event. Empty once the queue is closed; what is still in it is lost with the
  // stream.
  std::optional<ControllerEvent> Pop() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return closed_ || !events_.empty(); });
    if (closed_) return std::nullopt;
    ControllerEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ControllerEvent> events_;
  bool closed_ = false;
};

}  // namespace omni
