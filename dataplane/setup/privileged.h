// SPDX-License-Identifier: Apache-2.0
// The privileged minute: everything that needs root is opened here, then the privileges are
// dropped, before any thread exists. What remains is CAP_NET_ADMIN, for addresses and routes that
// the controller changes later.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/privileges.h"
#include "common/rpc/unix_server.h"
#include "dataplane/io/tun_port.h"
#include "dataplane/io/udp_port.h"
#include "dataplane/kernel/kernel_path.h"
#include "dataplane/setup/netlink_link.h"
#include "dataplane/setup/netlink_underlay.h"
#include "dataplane/setup/options.h"
#include "dataplane/xdp/xdp_path.h"

namespace omni {

struct Privileged {
  KernelTunPort::Device tun;
  std::vector<KernelUdpPort::Sockets> udp;
  OffloadFindings offloads;
  std::unique_ptr<NetlinkLink> link;
  std::unique_ptr<KernelPath> kernel;  // null: off
  std::string kernel_reason;           // why it is off
  std::unique_ptr<NetlinkUnderlay> underlay;
  std::unique_ptr<XdpPath> xdp;
  UnixListener listener;
  User controller_user;
};

// Opens all and drops privileges. The error is one line naming object and cause.
absl::StatusOr<Privileged> OpenAndDropPrivileges(const Options& options);

}  // namespace omni
