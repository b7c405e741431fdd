// SPDX-License-Identifier: Apache-2.0
// AfxdpPort: the UDP port of one worker through AF_XDP sockets where there are any, and through the
// kernel's sockets for everything else: control messages, peers whose hop is not known (yet),
// frames that do not fit, and all of it when an interface goes away. What comes in is opened where
// the kernel or the NIC wrote it; what goes out is copied once, from where it was sealed to a
// frame.
#pragma once

#include <memory>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "dataplane/core/port.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/xdp/port_plan.h"

namespace omni {

class AfxdpPort final : public UdpPort {
 public:
  // `sockets`: the kernel's; `fds` to wait on for them.
  AfxdpPort(std::unique_ptr<UdpPort> sockets, std::vector<int> fds, std::shared_ptr<PlanBox> box);

  void Send(std::span<const Train> trains, DropCounters& drops) override;
  size_t Receive(std::span<ReceivedDatagram> out, DropCounters& drops) override;
  Way WayTo(const UdpPath& path) const override;

  // To wait on.
  std::vector<int> fds() const;

 private:
  // LIMIT: frames taken from one socket before others have their turn.
  static constexpr size_t kBatch = 64;

  static HopKey KeyOf(const UdpPath& path);
  void TakePlan();
  // The socket and hop for a train, null unless it can go that way.
  struct Route {
    XskSocket* socket = nullptr;
    const Hop* hop = nullptr;
  };
  Route FindRoute(const Train& train);
  XskSocket* SocketOf(const Hop& hop) const;
  void SendTrain(const Train& train, const Route& route, DropCounters& drops);
  static size_t ReceiveFrames(XskSocket& socket, std::span<ReceivedDatagram> out,
                              DropCounters& drops);

  std::unique_ptr<UdpPort> kernel_;
  const std::vector<int> kernel_fds_;
  std::shared_ptr<PlanBox> box_;
  FileDescriptor epoll_;  // the AF_XDP sockets and the box, which come and go
  PortPlan plan_;
  absl::flat_hash_set<HopKey> asked_;  // hops that the plan does not have
  std::vector<Train> rest_;            // for the kernel
  size_t turn_ = 0;                    // whose it is to be asked first
};

}  // namespace omni
