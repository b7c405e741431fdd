// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/privileged.h"

#include <net/if.h>
#include <sys/capability.h>

#include "common/log.h"
#include "common/status.h"

namespace omni {

namespace {

// LIMIT: how long a flow of which user space has a packet stays there. Long enough for what waits
// in the TUN's queue, in both workers and in the peer's socket: some milliseconds under load.
constexpr Duration kFlowGuard = std::chrono::milliseconds(10);

absl::Status OpenKernelPath(const Options& options, Privileged& out) {
  if (options.in_kernel == InKernel::kOff) {
    out.kernel_reason = "switched off";
    return absl::OkStatus();
  }
  auto kernel = KernelPath::Open({.listen_port = options.listen_port,
                                  .tun_index = if_nametoindex(options.tun.c_str()),
                                  .threshold = options.in_kernel_threshold,
                                  .guard = kFlowGuard});
  if (kernel.ok()) {
    out.kernel = *std::move(kernel);
    return absl::OkStatus();
  }
  if (options.in_kernel == InKernel::kOn) return kernel.status();
  out.kernel_reason = Message(kernel.status());
  spdlog::info("in-kernel path off: {}", out.kernel_reason);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Privileged> OpenAndDropPrivileges(const Options& options) {
  ASSIGN_OR_RETURN(User controller_user, LookupUser(options.controller_user));
  RETURN_IF_ERROR(LookupUser(options.user).status());
  ASSIGN_OR_RETURN(auto tun, KernelTunPort::Open(options.tun, options.workers));
  ASSIGN_OR_RETURN(auto link, NetlinkLink::Open(options.tun));
  ASSIGN_OR_RETURN(auto udp, KernelUdpPort::Bind(options.listen_port, options.workers));
  ASSIGN_OR_RETURN(auto listener,
                   UnixListener::Open({.path = options.socket, .group = controller_user.gid}));
  Privileged out{.tun = std::move(tun),
                 .udp = std::move(udp),
                 .link = std::move(link),
                 .listener = std::move(listener),
                 .controller_user = std::move(controller_user)};
  RETURN_IF_ERROR(OpenKernelPath(options, out));
  RETURN_IF_ERROR(DropPrivileges({.user = options.user, .keep = {CAP_NET_ADMIN}}));
  return out;
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
