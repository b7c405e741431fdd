// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/privileged.h"

#include <sys/capability.h>

#include "common/log.h"
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
  ASSIGN_OR_RETURN(auto xdp, XdpPath::Open({.choices = options.xdp,
                                            .listen_port = options.listen_port,
                                            .workers = options.workers}));
  RETURN_IF_ERROR(DropPrivileges({.user = options.user, .keep = {CAP_NET_ADMIN}}));
  return Privileged{.tun = std::move(tun),
                    .udp = std::move(udp),
                    .offloads = std::move(offloads),
                    .link = std::move(link),
                    .underlay = std::move(underlay),
                    .xdp = std::move(xdp),
                    .listener = std::move(listener),
                    .controller_user = std::move(controller_user)};
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
