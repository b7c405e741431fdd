// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/port_mapper.h"

#include <algorithm>
#include <utility>

#include <boost/asio/post.hpp>

#include "common/status.h"

namespace omni {
namespace {

using std::chrono::seconds;

// LIMIT: RFC 6886 section 3.3 recommends 7200 s, renewed at half of it.
constexpr seconds kLifetime{7200};
// LIMIT: where nobody grants ports; a change of the network asks at once.
constexpr seconds kRetry{600};

// How long what was answered stands.
seconds NextAfter(const absl::StatusOr<PortMapping>& answer) {
  if (!answer.ok()) return kRetry;
  return answer->lifetime.count() == 0 ? kLifetime : answer->lifetime / 2;
}

}  // namespace

PortMapper::PortMapper(boost::asio::io_context& loop, std::function<void()> changed, Calls calls)
    : loop_(loop),
      changed_(std::move(changed)),
      calls_(std::move(calls)),
      alive_(std::make_shared<bool>(true)),
      thread_([this] { Run(); }) {}

PortMapper::~PortMapper() {
  *alive_ = false;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void PortMapper::Request(uint16_t port) {
  {
    const std::lock_guard lock(mutex_);
    port_ = port;
    requested_ = true;
  }
  wake_.notify_one();
}

void PortMapper::Run() {
  std::optional<PortMapping> held;
  uint16_t held_port = 0;
  auto due = std::chrono::steady_clock::time_point::max();
  std::unique_lock lock(mutex_);
  while (true) {
    const auto wanted = [this] { return stop_ || requested_; };
    // Until far away means for ever: wait_until() would overflow.
    if (due == std::chrono::steady_clock::time_point::max()) {
      wake_.wait(lock, wanted);
    } else {
      wake_.wait_until(lock, due, wanted);
    }
    if (stop_) break;
    requested_ = false;
    const uint16_t port = port_;
    lock.unlock();
    auto answer = calls_.map(port, kLifetime);
    due = std::chrono::steady_clock::now() + NextAfter(answer);
    held = answer.ok() ? std::optional(*answer) : std::nullopt;
    held_port = port;
    Publish({.mapping = held,
             .error = answer.ok() ? "" : std::string(Message(answer.status())),
             .is_asking = false});
    lock.lock();
  }
  lock.unlock();
  if (held) calls_.unmap(held_port, *held);
}

void PortMapper::Publish(View view) {
  boost::asio::post(loop_, [this, alive = alive_, view = std::move(view)]() mutable {
    if (!*alive) return;
    view_ = std::move(view);
    changed_();
  });
}

}  // namespace omni
