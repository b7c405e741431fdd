// SPDX-License-Identifier: Apache-2.0
// NetlinkUnderlay: interfaces and routes under the tunnel through rtnetlink (libnl). Needs no
// privilege. Opened by the main thread and asked by it alone, but for LargestMtu().
#pragma once

#include <netlink/socket.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "dataplane/hub/underlay.h"

namespace omni {

class NetlinkUnderlay final : public Underlay {
 public:
  // `tun`: the interface that is no underlay, for it is ours.
  static absl::StatusOr<std::unique_ptr<NetlinkUnderlay>> Open(const std::string& tun);

  uint32_t LargestMtu() const override { return largest_.load(std::memory_order_relaxed); }
  uint32_t MtuTowards(const Endpoint& remote) override;
  bool TakeChange() override;

 private:
  struct SocketDeleter {
    void operator()(nl_sock* socket) const { nl_socket_free(socket); }
  };
  using Socket = std::unique_ptr<nl_sock, SocketDeleter>;

  NetlinkUnderlay(Socket socket, Socket monitor, int tun_index)
      : socket_(std::move(socket)), monitor_(std::move(monitor)), tun_index_(tun_index) {}

  static int OnMessage(nl_msg* message, void* self);
  void ReadLinks();
  uint32_t MtuOf(int index);

  Socket socket_;
  Socket monitor_;
  int tun_index_;
  bool changed_ = false;
  // ORDER: relaxed; the value stands for itself.
  std::atomic<uint32_t> largest_ = 0;
};

}  // namespace omni
