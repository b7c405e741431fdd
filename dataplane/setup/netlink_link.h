// SPDX-License-Identifier: Apache-2.0
// NetlinkLink: addresses, MTU and routes of the TUN through rtnetlink (libnl). Opened in the
// privileged minute; later changes need CAP_NET_ADMIN, which the dataplane keeps for this.
#pragma once

#include <netlink/socket.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "dataplane/hub/link.h"

namespace omni {

class NetlinkLink final : public LinkControl {
 public:
  // NOT_FOUND when there is no such interface.
  static absl::StatusOr<std::unique_ptr<NetlinkLink>> Open(const std::string& name);

  absl::Status Apply(const LinkState& wanted) override;
  bool TakeReset() override;

 private:
  struct SocketDeleter {
    void operator()(nl_sock* socket) const { nl_socket_free(socket); }
  };

  using Socket = std::unique_ptr<nl_sock, SocketDeleter>;

  NetlinkLink(std::string name, Socket socket, Socket monitor, int index)
      : name_(std::move(name)),
        socket_(std::move(socket)),
        monitor_(std::move(monitor)),
        index_(index) {}

  static int OnLinkMessage(nl_msg* message, void* self);

  enum class Change : uint8_t { kAdd, kRemove };
  absl::Status ChangeAddress(const InterfaceAddress& address, Change change);
  absl::Status ChangeRoute(const IpPrefix& prefix, Change change);
  absl::Status SetLink(const LinkState& wanted);

  std::string name_;
  Socket socket_;   // of Apply()
  Socket monitor_;  // of TakeReset(), which another thread calls: the kernel's news of interfaces
  int index_;
  bool was_down_ = false;             // of TakeReset()
  bool came_up_ = false;              // of TakeReset()
  std::atomic<bool> forget_ = false;  // what was applied is gone
  LinkState applied_;
  std::set<IpPrefix> refused_routes_;  // of the latest Apply()
};

}  // namespace omni
