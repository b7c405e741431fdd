// SPDX-License-Identifier: Apache-2.0
// Mailbox: the only door through which anything from outside reaches a worker's tables. Orders are
// closures that run on the worker's thread between two batches, in the order in which they were
// posted. Any thread may post.
#pragma once

#include <sys/eventfd.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "common/status.h"
#include "dataplane/io/file_descriptor.h"

namespace omni {

template <typename Target>
class Mailbox {
 public:
  using Order = std::function<void(Target&)>;

  Mailbox() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { OMNI_CHECK(event_.is_open()); }

  void Post(Order order) {
    {
      const std::lock_guard lock(mutex_);
      orders_.push_back(std::move(order));
      posted_.store(true, std::memory_order_release);
    }
    Wake();
  }

  // Runs everything posted so far. Called by the owner alone.
  void Empty(Target& target) {
    uint64_t ignored = 0;
    (void)!read(event_.get(), &ignored, sizeof(ignored));
    std::vector<Order> orders;
    {
      const std::lock_guard lock(mutex_);
      orders.swap(orders_);
      posted_.store(false, std::memory_order_relaxed);
    }
    for (Order& order : orders) order(target);
  }

  // The same without a system call when there is nothing: what was posted before this is done
  // after.
  void EmptyIfPosted(Target& target) {
    // ORDER: acquire pairs with the release in Post().
    if (posted_.load(std::memory_order_acquire)) Empty(target);
  }

  // Makes the owner look, also when nothing was posted (a ring beside the mailbox was filled).
  void Wake() {
    const uint64_t one = 1;
    (void)!write(event_.get(), &one, sizeof(one));
  }

  int fd() const { return event_.get(); }

 private:
  FileDescriptor event_;
  std::mutex mutex_;
  std::atomic<bool> posted_ = false;
  std::vector<Order> orders_;
};

}  // namespace omni
