// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/privileged.h"

#include <sys/capability.h>

#include "common/log.h"
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
  ASSIGN_OR_RETURN(auto xdp,
                   XdpPath::Open({.choices = options.xdp, .listen_port = options.listen_port}));
  RETURN_IF_ERROR(DropPrivileges({.user = options.user, .keep = {CAP_NET_ADMIN}}));
  return Privileged{
      std::move(tun), std::move(udp),      std::move(link),           std::move(underlay),
      std::move(xdp), std::move(listener), std::move(controller_user)};
}

absl::StatusOr<std::vector<std::unique_ptr<Aead>>> MakeAeads(const Options& options) {
  std::vector<AeadBackend> candidates = AvailableAeadBackends();
  if (options.aead) candidates = {*options.aead};
  absl::Status last = absl::UnavailableError("no AEAD backend");
  for (const AeadBackend backend : candidates) {
    std::vector<std::unique_ptr<Aead>> out;
    last = absl::OkStatus();
    while (last.ok() && out.size() < options.workers) {
      auto aead = MakeAead(backend);
      last = aead.status();
      if (last.ok()) last = SelfTestAead(**aead);
      if (last.ok()) out.push_back(*std::move(aead));
    }
    if (last.ok()) return out;
    spdlog::error("{}", Message(last));
  }
  return last;
}

}  // namespace omni
