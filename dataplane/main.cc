// SPDX-License-Identifier: Apache-2.0
// omni-dataplane. Reading order: this file, worker/worker.cc, core/sender.cc and core/receiver.cc,
// core/channel.h, bpf/abi.h.
#include <signal.h>
#include <sodium.h>
#include <systemd/sd-daemon.h>

#include <memory>
#include <thread>

#include "common/log.h"
#include "common/rpc/unix_server.h"
#include "common/status.h"
#include "dataplane/api/service.h"
#include "dataplane/hub/hub.h"
#include "dataplane/setup/aead_choice.h"
#include "dataplane/setup/options.h"
#include "dataplane/setup/path_switch.h"
#include "dataplane/setup/privileged.h"
#include "dataplane/worker/worker.h"

namespace omni {
namespace {

// LIMIT: timers of peers are counted in seconds; a tenth of one is exact enough.
constexpr timespec kTick = {.tv_sec = 0, .tv_nsec = 100'000'000};

// Signals that end the process are taken by the main thread, in its tick; all threads made later
// inherit the mask.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return signals;
}

struct Workers {
  std::vector<std::unique_ptr<Worker>> all;
  std::vector<const WayCounters*> sockets;  // of ports that the workers own
  OffloadReport offloads;                   // of ports that the workers own
};

std::vector<Worker*> PointersTo(const Workers& workers) {
  std::vector<Worker*> out;
  out.reserve(workers.all.size());
  for (const auto& worker : workers.all) out.push_back(worker.get());
  return out;
}

Workers MakeWorkers(Privileged& privileged, Hub& hub, std::vector<std::unique_ptr<Aead>> aeads) {
  const OffloadFindings& found = privileged.offloads;
  Workers out{.all = {}, .offloads = OffloadReport(found)};
  const auto gso =
      found.active(KernelOffload::kUdpGso) ? KernelUdpPort::Gso::kOn : KernelUdpPort::Gso::kOff;
  const Coalescer::Kinds joins = {.tcp = found.active(KernelOffload::kTunTcpCoalescing),
                                  .udp = found.active(KernelOffload::kTunUdpCoalescing)};
  const auto count = static_cast<uint32_t>(aeads.size());
  out.all.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    auto udp = std::make_unique<KernelUdpPort>(std::move(privileged.udp[i]), gso);
    auto tun = std::make_unique<KernelTunPort>(std::move(privileged.tun.queues[i]), joins);
    out.offloads.Watch(KernelOffload::kUdpGso, &udp->gso());
    out.offloads.Watch(KernelOffload::kTunTcpCoalescing, &tun->tcp_joining());
    out.offloads.Watch(KernelOffload::kTunUdpCoalescing, &tun->udp_joining());
    out.sockets.push_back(&udp->traffic());
    Worker::Parts parts{.index = i, .workers = count, .aead = std::move(aeads[i])};
    std::vector<int> udp_fds = udp->fds();
    XdpPath::Port port = privileged.xdp->MakePort(i, {std::move(udp), std::move(udp_fds)});
    parts.udp = std::move(port.port);
    parts.udp_fds = std::move(port.fds);
    parts.tun_fd = tun->fd();
    parts.tun = std::move(tun);
    parts.reports = &hub;
    parts.control = privileged.kernel.get();
    out.all.push_back(std::make_unique<Worker>(std::move(parts)));
  }
  std::vector<Worker*> siblings = PointersTo(out);
  for (const auto& worker : out.all) worker->SetSiblings(siblings);
  hub.SetWorkers(std::move(siblings));
  return out;
}

std::vector<DataplaneInfo::Traffic> TrafficOf(const XdpPath& xdp, const Workers& workers) {
  const XdpPath::Traffic afxdp = xdp.AfxdpTraffic();
  DataplaneInfo::Traffic sockets{.path = "socket"};
  for (const WayCounters* counters : workers.sockets) {
    sockets.tx_packets += counters->tx_packets.value();
    sockets.tx_bytes += counters->tx_bytes.value();
    sockets.rx_packets += counters->rx_packets.value();
    sockets.rx_bytes += counters->rx_bytes.value();
  }
  return {{"afxdp", afxdp.tx_packets, afxdp.tx_bytes, afxdp.rx_packets, afxdp.rx_bytes}, sockets};
}

DataplaneInfo::Counted Count(const XdpPath::Counter& counter) {
  return {counter.name, counter.help, counter.value};
}

// Adds what XDP has to say to `info`.
void DescribeXdp(const XdpPath& xdp, DataplaneInfo& info) {
  info.path = [&xdp] {
    const XdpPath::State path = xdp.DescribePath();
    return DataplaneInfo::Path{path.name, path.reason};
  };
  info.drops = [&xdp] { return xdp.Drops(); };
  info.counters = [&xdp] {
    std::vector<DataplaneInfo::Counted> out;
    for (const XdpPath::Counter& counter : xdp.Counters()) out.push_back(Count(counter));
    return out;
  };
  info.counters_by_cpu = [&xdp] {
    std::vector<std::vector<DataplaneInfo::Counted>> out;
    for (const auto& counters : xdp.CountersByCpu()) {
      auto& added = out.emplace_back();
      for (const XdpPath::Counter& counter : counters) added.push_back(Count(counter));
    }
    return out;
  };
  info.features = [&xdp, workers = std::move(info.features)] {
    auto out = workers();
    for (const auto& [name, active, reason] : xdp.Describe()) out.push_back({name, active, reason});
    return out;
  };
}

OffloadReport::Line DescribeKernelPath(const Privileged& privileged, InKernel choice) {
  if (privileged.kernel == nullptr) return {"in_kernel", false, privileged.kernel_reason};
  if (choice == InKernel::kOff) return {"in_kernel", false, "switched off"};
  return {"in_kernel", true, privileged.kernel->Describe()};
}

void LogFeature(const OffloadReport::Line& line) {
  spdlog::info("{}: {} ({})", line.name, line.active ? "on" : "off", line.reason);
}

void LogCiphers(const std::vector<CipherSpeed>& ciphers) {
  for (const CipherSpeed& speed : ciphers) {
    spdlog::info("{}: by {}, {} ns for 64 bytes, {} ns for 1,420", CipherName(speed.cipher),
                 AeadBackendName(speed.backend), speed.ns_64, speed.ns_1420);
  }
}

// Ticks until a signal or a worker ends it. Gives the exit code.
int TickUntilEnd(Hub& hub, const Privileged& privileged, DataplaneService& service,
                 const sigset_t& signals) {
  for (;;) {
    const int signal = sigtimedwait(&signals, nullptr, &kTick);
    if (signal > 0) {
      spdlog::info("stopping: {}", signal == SIGTERM ? "SIGTERM" : "SIGINT");
      return 0;
    }
    if (const auto failure = hub.failure()) {
      spdlog::error("{}", *failure);
      return 1;
    }
    const Instant now = Now();
    privileged.xdp->Maintain(now);
    if (privileged.kernel) privileged.kernel->FollowXdp(privileged.xdp->NativeInterfaces());
    hub.Tick(now);
    service.Tick(now);
  }
}

absl::StatusOr<int> Run(const Options& options) {
  RETURN_IF_ERROR(InitLogging("omni-dataplane", options.log_level));
  if (sodium_init() < 0) return absl::InternalError("libsodium did not initialise");
  const sigset_t signals = BlockSignals();
  ASSIGN_OR_RETURN(AeadChoice choice, ChooseAeads(options.aead, options.workers));
  ASSIGN_OR_RETURN(Privileged privileged, OpenAndDropPrivileges(options));

  Hub hub(*privileged.link, *privileged.underlay);
  hub.SetKernel(privileged.kernel.get());
  hub.SetChannelWatch(privileged.xdp.get());
  hub.SetRelayWatch(privileged.xdp.get());
  const Workers workers = MakeWorkers(privileged, hub, std::move(choice.aeads));
  PathSwitch paths(options.paths, *privileged.xdp, privileged.kernel.get(), PointersTo(workers));
  hub.SetPathControl(&paths);
  LogCiphers(choice.ciphers);
  for (const OffloadReport::Line& line : workers.offloads.Describe()) {
    LogFeature(line);
  }
  LogFeature(DescribeKernelPath(privileged, options.paths.in_kernel));
  DataplaneInfo info{
      .tun_name = options.tun, .listen_port = options.listen_port, .ciphers = choice.ciphers};
  info.control_channels = [&paths, has_kernel = privileged.kernel != nullptr] {
    return has_kernel && paths.settings().in_kernel != InKernel::kOff ? 1U : 0U;
  };
  info.settings = [&paths] { return paths.settings(); };
  info.features = [&workers, &privileged, &paths] {
    auto features = workers.offloads.Describe();
    features.push_back(DescribeKernelPath(privileged, paths.settings().in_kernel));
    return features;
  };
  DescribeXdp(*privileged.xdp, info);
  info.traffic = [&workers, &privileged] { return TrafficOf(*privileged.xdp, workers); };
  DataplaneService service(hub, PointersTo(workers), std::move(info));
  ASSIGN_OR_RETURN(auto server,
                   UnixServer::Start(std::move(privileged.listener),
                                     {.uids = {privileged.controller_user.uid}}, {&service}));
  std::vector<std::thread> threads;
  threads.reserve(workers.all.size());
  for (const auto& worker : workers.all) threads.emplace_back([&worker] { worker->Run(); });
  spdlog::info("ready: {} workers, UDP port {}, TUN {}", workers.all.size(), options.listen_port,
               options.tun);
  sd_notify(0, "READY=1");
  const int code = TickUntilEnd(hub, privileged, service, signals);
  sd_notify(0, "STOPPING=1");
  service.Shutdown();
  server->Stop();
  for (const auto& worker : workers.all) worker->Stop();
  for (std::thread& thread : threads) thread.join();
  return code;
}

}  // namespace
}  // namespace omni

int main(int argc, char** argv) {
  const omni::ParsedOptions parsed = omni::ParseOptions(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  const auto code = omni::Run(parsed.options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "omni-dataplane: %s\n", std::string(omni::Message(code.status())).c_str());
  return 1;
}
