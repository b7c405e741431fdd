// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/privileged.h"

#include <sys/capability.h>

#include "common/status.h"

namespace omni {

absl::StatusOr<Privileged> OpenAndDropPrivileges(const Options& options) {
  ASSIGN_OR_RETURN(User controller_user, LookupUser(options.controller_user));
  RETURN_IF_ERROR(LookupUser(options.user).status());
  ASSIGN_OR_RETURN(auto tun, KernelTunPort::Open(options.tun, options.workers));
  ASSIGN_OR_RETURN(auto link, NetlinkLink::Open(options.tun));
  ASSIGN_OR_RETURN(auto underlay, NetlinkUnderlay::Open(options.tun));
  ASSIGN_OR_RETURN(auto udp, KernelUdpPort::Bind(options.listen_port, options.workers));
  ASSIGN_OR_RETURN(auto listener,
                   UnixListener::Open({.path = options.socket, .group = controller_user.gid}));
  RETURN_IF_ERROR(DropPrivileges({.user = options.user, .keep = {CAP_NET_ADMIN}}));
  return Privileged{std::move(tun),      std::move(udp),      std::move(link),
                    std::move(underlay), std::move(listener), std::move(controller_user)};
}

}  // namespace omni
