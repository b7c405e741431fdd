// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/privileged.h"

#include <net/if.h>
#include <sys/capability.h>

#include "common/status.h"
#include "dataplane/setup/offload_check.h"

namespace omni {
namespace {

// An offload that passed its test and is refused where it is needed.
void NoteRefusal(OffloadFinding& finding, const std::string& why) {
  if (finding.active) finding = {.active = false, .reason = "failed: " + why};
}

absl::StatusOr<KernelTunPort::Device> OpenTun(const Options& options, OffloadFindings& offloads) {
  const KernelTunPort::Offloads wanted = {.tso = offloads.active(KernelOffload::kTunTso),
                                          .uso = offloads.active(KernelOffload::kTunUso)};
  ASSIGN_OR_RETURN(auto tun, KernelTunPort::Open(options.tun, options.workers, wanted));
  const std::string why = "the TUN device does not offer it";
  if (!tun.offloads.tso) NoteRefusal(offloads[KernelOffload::kTunTso], why);
  if (!tun.offloads.uso) NoteRefusal(offloads[KernelOffload::kTunUso], why);
  return tun;
}

absl::StatusOr<std::vector<KernelUdpPort::Sockets>> BindUdp(const Options& options,
                                                            OffloadFindings& offloads) {
  const auto gro =
      offloads.active(KernelOffload::kUdpGro) ? KernelUdpPort::Gro::kOn : KernelUdpPort::Gro::kOff;
  ASSIGN_OR_RETURN(auto bound, KernelUdpPort::Bind(options.listen_port, options.workers, gro));
  if (!bound.gro.ok()) {
    NoteRefusal(offloads[KernelOffload::kUdpGro], std::string(Message(bound.gro)));
  }
  return std::move(bound.workers);
}

// LIMIT: how long a flow of which user space has a packet stays there. Long enough for what waits
// in the TUN's queue, for two workers and in the peer's socket: 8 MiB are 64 ms at 1 Gbit/s.
constexpr Duration kFlowGuard = std::chrono::milliseconds(100);

// LIMIT: 100,000 packets a second. A question and its answer take longer than 10 us over any
// network, so that a flow beyond it does not wait for answers: it is bulk, and the kernel would be
// the slower way for it (105 beside 213 Mbit/s of 64-byte datagrams).
constexpr Duration kFlowPace = std::chrono::microseconds(10);

absl::Status OpenKernelPath(const Options& options, Privileged& out) {
  if (options.paths.in_kernel == InKernel::kOff) {
    out.kernel_reason = "switched off at the start";
    return absl::OkStatus();
  }
  const std::string no_xdp = options.in_kernel_hook == InKernelHook::kTc ? "by choice"
                             : out.xdp->has_program()                    ? ""
                                                                         : "no interface has XDP";
  auto kernel = KernelPath::Open({.listen_port = options.listen_port,
                                  .tun_index = if_nametoindex(options.tun.c_str()),
                                  .threshold = options.paths.in_kernel_threshold,
                                  .guard = kFlowGuard,
                                  .pace = kFlowPace,
                                  .xdp = no_xdp.empty() ? KernelXdp::kYes : KernelXdp::kNo,
                                  .no_xdp_reason = no_xdp});
  if (kernel.ok()) {
    out.kernel = *std::move(kernel);
    const std::optional<int> opener = out.kernel->xdp_program();
    return opener ? out.xdp->SetOpener(*opener) : absl::OkStatus();
  }
  if (options.paths.in_kernel == InKernel::kOn) return kernel.status();
  out.kernel_reason = Message(kernel.status());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Privileged> OpenAndDropPrivileges(const Options& options) {
  ASSIGN_OR_RETURN(User controller_user, LookupUser(options.controller_user));
  RETURN_IF_ERROR(LookupUser(options.user).status());
  OffloadFindings offloads = CheckOffloads(options.disabled_offloads);
  ASSIGN_OR_RETURN(auto tun, OpenTun(options, offloads));
  ASSIGN_OR_RETURN(auto link, NetlinkLink::Open(options.tun));
  ASSIGN_OR_RETURN(auto underlay, NetlinkUnderlay::Open(options.tun));
  ASSIGN_OR_RETURN(auto udp, BindUdp(options, offloads));
  ASSIGN_OR_RETURN(auto listener,
                   UnixListener::Open({.path = options.socket, .group = controller_user.gid}));
  Privileged out{.tun = std::move(tun),
                 .udp = std::move(udp),
                 .offloads = std::move(offloads),
                 .link = std::move(link),
                 .underlay = std::move(underlay),
                 .listener = std::move(listener),
                 .controller_user = std::move(controller_user)};
  ASSIGN_OR_RETURN(out.xdp, XdpPath::Open({.settings = options.paths,
                                           .listen_port = options.listen_port,
                                           .workers = options.workers}));
  RETURN_IF_ERROR(OpenKernelPath(options, out));
  RETURN_IF_ERROR(DropPrivileges({.user = options.user, .keep = {CAP_NET_ADMIN}}));
  return out;
}

}  // namespace omni
