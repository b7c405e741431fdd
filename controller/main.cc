// SPDX-License-Identifier: Apache-2.0
// omni-controller: decides, and never touches a data packet. Reads its files and opens its socket,
// gives up all privileges while it has one thread, then runs one event loop until SIGTERM.
//
// Exit codes: 0 ended as asked (or --check-config found nothing), 1 failed (or --check-config found
// errors), 2 wrong usage, 78 wrong configuration at start (EX_CONFIG of sysexits.h).
#include <fmt/format.h>
#include <grp.h>
#include <sodium.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>

#include "common/identity/cluster.h"
#include "common/identity/identity.h"
#include "common/log.h"
#include "common/privileges.h"
#include "common/rpc/unix_server.h"
#include "common/status.h"
#include "controller/api/control_service.h"
#include "controller/config/config.h"
#include "controller/core/controller.h"
#include "controller/core/handshake_clock.h"
#include "controller/dataplane_client/grpc_client.h"
#include "controller/metrics/metrics.h"
#include "controller/noise/engine.h"
#include "generated/version.h"

namespace omni {
namespace {

namespace asio = boost::asio;

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitConfig = 78;

struct Arguments {
  std::string config = "/etc/omni/controller.toml";
  std::string user = "omni";
  std::string log_level;  // empty: as configured
  bool check_config = false;
};

// What is read before privileges are given up.
struct Files {
  Config config;
  Identity identity;
  ClusterKeyring cluster;
};

absl::StatusOr<Files> ReadFiles(const std::string& path) {
  ASSIGN_OR_RETURN(Config config, LoadConfig(path));
  RETURN_IF_ERROR(ReadPairSecrets(config));
  ASSIGN_OR_RETURN(Identity identity, Identity::Load(config.identity_dir));
  RETURN_IF_ERROR(CheckAgainstIdentity(config, identity.node_id()));
  ASSIGN_OR_RETURN(ClusterKeyring cluster, ReadClusterSecrets(config));
  return Files{std::move(config), std::move(identity), std::move(cluster)};
}

int CheckConfig(const std::string& path) {
  const auto files = ReadFiles(path);
  if (!files.ok()) {
    std::cerr << Message(files.status()) << '\n';
    return kExitFailure;
  }
  std::cout << fmt::format("{}: ok ({} peers)\n", path, files->config.peers.size());
  return kExitOk;
}

absl::StatusOr<gid_t> LookupGroup(const std::string& name) {
  const group* entry = getgrnam(name.c_str());
  if (entry == nullptr) {
    return absl::NotFoundError(fmt::format(
        "api.group: group \"{}\" does not exist; create it: groupadd --system {}", name, name));
  }
  return entry->gr_gid;
}

// The part of the start that may need root: the socket in its directory, a state directory that the
// user owns, then no privilege any more.
absl::StatusOr<UnixListener> OpenAndDrop(const Config& config, const Arguments& arguments,
                                         AllowedCallers& callers) {
  UnixListener::Options options{.path = config.api_socket};
  if (!config.api_group.empty()) {
    ASSIGN_OR_RETURN(options.group, LookupGroup(config.api_group));
    callers.groups.push_back(options.group);
  }
  if (geteuid() == 0) {
    ASSIGN_OR_RETURN(const User user, LookupUser(arguments.user));
    options.owner = user.uid;
    if (config.api_group.empty()) options.group = user.gid;
    if (mkdir(config.state_dir.c_str(), 0700) == 0 &&
        lchown(config.state_dir.c_str(), user.uid, user.gid) != 0) {
      return ErrnoStatus("chown " + config.state_dir);
    }
  }
  ASSIGN_OR_RETURN(UnixListener listener, UnixListener::Open(options));
  RETURN_IF_ERROR(DropPrivileges({.user = arguments.user, .keep = {}, .extra_groups = {}}));
  return listener;
}

void NotifyReloading() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t usec = int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  sd_notify(0, fmt::format("RELOADING=1\nMONOTONIC_USEC={}", usec).c_str());
}

// Reloads on SIGHUP, and calls `stop` on the first SIGTERM or SIGINT.
template <typename Stop>
void WatchSignals(asio::signal_set& signals, Controller& controller, Stop stop) {
  signals.async_wait(
      [&signals, &controller, stop](const boost::system::error_code& error, int signal) {
        if (error) return;
        if (signal == SIGHUP) {
          NotifyReloading();
          // The outcome is logged, and stays visible as last_reload_error.
          (void)controller.Reload().status();
          sd_notify(0, "READY=1");
          WatchSignals(signals, controller, stop);
        } else {
          stop();
        }
      });
}

absl::Status Serve(Files files, UnixListener listener, AllowedCallers callers) {
  asio::io_context loop(1);
  GrpcDataplaneClient dataplane(loop, files.config.dataplane_socket);
  HandshakeClock environment(files.config.state_dir + "/handshake-clock",
                             noise::SystemEnvironment());
  Controller controller(loop, dataplane,
                        {.config = std::move(files.config),
                         .self = files.identity.public_key(),
                         .engine = {.static_private = files.identity.static_private().Clone(),
                                    .cluster_psk = {},  // `cluster` has it
                                    .workers = 1,       // until the dataplane says how many
                                    .environment = &environment},
                         .identity = &files.identity,
                         .cluster = std::move(files.cluster)});
  RETURN_IF_ERROR(controller.LoadPeers());
  std::unique_ptr<MetricsServer> metrics;
  if (!controller.config().metrics_listen.empty()) {
    ASSIGN_OR_RETURN(metrics,
                     MetricsServer::Start(loop, controller, controller.config().metrics_listen));
  }
  ControlService service(loop, controller);
  ASSIGN_OR_RETURN(std::unique_ptr<UnixServer> server,
                   UnixServer::Start(std::move(listener), std::move(callers), {&service}));

  // Calls and scrapes under way are answered by the loop: it runs until both servers have ended.
  std::thread stopper;
  asio::signal_set signals(loop, SIGTERM, SIGINT, SIGHUP);
  WatchSignals(signals, controller, [&] {
    spdlog::info("stopping; sessions carry on in the dataplane");
    sd_notify(0, "STOPPING=1");
    controller.Stop();
    stopper = std::thread([&] {
      server->Stop();
      metrics.reset();
      loop.stop();
    });
  });
  controller.Start();
  sd_notify(0, "READY=1");
  spdlog::info("omni-controller {}: node {} ({}), {} peers", kVersion, controller.config().name,
               controller.self().node_id().ToString(), controller.peers().size());
  loop.run();
  if (stopper.joinable()) stopper.join();
  return absl::OkStatus();
}

int Run(const Arguments& arguments) {
  if (sodium_init() < 0) {
    std::cerr << "omni-controller: libsodium does not start\n";
    return kExitFailure;
  }
  if (arguments.check_config) return CheckConfig(arguments.config);
  // A reload asked for before there is anything to reload must not end the process; the loop takes
  // this signal over. A client that goes away must not, either.
  std::signal(SIGHUP, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  const absl::Status logging = InitLogging(
      "omni-controller", arguments.log_level.empty() ? std::string("info") : arguments.log_level);
  if (!logging.ok()) {
    std::cerr << "omni-controller: --log-level: " << Message(logging) << '\n';
    return kExitUsage;
  }
  auto files = ReadFiles(arguments.config);
  if (!files.ok()) {
    spdlog::error("{}", Message(files.status()));
    return kExitConfig;
  }
  if (arguments.log_level.empty()) {
    spdlog::set_level(spdlog::level::from_str(files->config.log_level));
  }
  AllowedCallers callers;
  auto listener = OpenAndDrop(files->config, arguments, callers);
  absl::Status status = listener.status();
  if (listener.ok()) status = Serve(*std::move(files), *std::move(listener), std::move(callers));
  if (status.ok()) return kExitOk;
  spdlog::error("{}", Message(status));
  return kExitFailure;
}

int ParseAndRun(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("The controller of OmniNervous: peers, handshakes, management API, metrics.",
               "omni-controller");
  app.set_version_flag("--version", fmt::format("omni-controller {}", kVersion));
  app.add_option("--config", arguments.config, "Configuration file")->capture_default_str();
  app.add_flag("--check-config", arguments.check_config,
               "Check the configuration and the files it names as a start would, and end");
  app.add_option("--user", arguments.user, "User to become when started as root")
      ->capture_default_str();
  app.add_option("--log-level", arguments.log_level,
                 "trace, debug, info, warn or error, instead of the configured one");
  app.footer(
      "Exit codes: 0 ended as asked, 1 failed (or errors found by --check-config), 2 wrong usage,\n"
      "78 wrong configuration.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return Run(arguments);
}

}  // namespace
}  // namespace omni

int main(int argc, char** argv) {
  try {
    return omni::ParseAndRun(argc, argv);
  } catch (const std::exception& error) {
    // Nothing of ours throws: out of memory, or a library.
    std::fprintf(stderr, "omni-controller: %s\n", error.what());
    return omni::kExitFailure;
  }
}
