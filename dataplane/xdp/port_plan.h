// SPDX-License-Identifier: Apache-2.0
// PortPlan: with which AF_XDP sockets a worker's port works, and over which hops it may send.
// PlanBox: where XdpPath leaves a new plan and the port asks for hops it does not know. The port
// looks at one number a batch; the lock is taken only when there is something new.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/status.h"
#include "dataplane/core/peer.h"
#include "dataplane/core/port.h"
#include "dataplane/xdp/frame.h"
#include "dataplane/xdp/xsk_socket.h"

namespace omni {

// How frames reach a peer.
struct Hop {
  uint32_t interface = 0;  // by whose sockets
  uint32_t mtu = 0;        // of the IP packet
  FrameHead head;
};

// As UdpPath.
struct HopKey {
  Endpoint remote;
  IpAddress local;  // zero: not said

  bool has_local() const { return local != IpAddress(); }
  friend auto operator<=>(const HopKey&, const HopKey&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const HopKey& key) {
    return H::combine(std::move(h), key.remote, key.local);
  }
};
using HopTable = absl::flat_hash_map<HopKey, Hop>;

struct PortPlan {
  std::vector<std::shared_ptr<XskSocket>> sockets;  // used by this worker alone
  std::shared_ptr<const HopTable> hops = std::make_shared<HopTable>();
};

class PlanBox {
 public:
  PlanBox() : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { OMNI_CHECK(event_.is_open()); }

  // Of XdpPath.
  void Publish(PortPlan plan) {
    {
      const std::lock_guard lock(mutex_);
      plan_ = std::move(plan);
      is_new_.store(true, std::memory_order_release);
    }
    const uint64_t one = 1;
    (void)!write(event_.get(), &one, sizeof(one));
  }
  std::vector<HopKey> TakeWanted() {
    // ORDER: relaxed; what is missed now is found with the next look.
    if (!has_wanted_.load(std::memory_order_relaxed)) return {};
    const std::lock_guard lock(mutex_);
    has_wanted_.store(false, std::memory_order_relaxed);
    return std::exchange(wanted_, {});
  }

  // Of the port. ORDER: acquire pairs with the release in Publish().
  bool is_new() const { return is_new_.load(std::memory_order_acquire); }
  PortPlan Take() {
    uint64_t ignored = 0;
    (void)!read(event_.get(), &ignored, sizeof(ignored));
    const std::lock_guard lock(mutex_);
    is_new_.store(false, std::memory_order_relaxed);
    return plan_;
  }
  void Want(const HopKey& key) {
    const std::lock_guard lock(mutex_);
    wanted_.push_back(key);
    has_wanted_.store(true, std::memory_order_relaxed);
  }
  // Readable when there is a new plan.
  int fd() const { return event_.get(); }
  // What went through AF_XDP: written by the port.
  WayCounters traffic;

 private:
  FileDescriptor event_;
  std::mutex mutex_;
  std::atomic<bool> is_new_ = false;
  std::atomic<bool> has_wanted_ = false;
  PortPlan plan_;
  std::vector<HopKey> wanted_;
};

}  // namespace omni
