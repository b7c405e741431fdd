// SPDX-License-Identifier: Apache-2.0
// omni-nucleus: where the nodes of clusters find each other. Gives up all privileges while it has
// one thread, then runs one event loop until SIGTERM: a few UDP sockets, the server, a timer.
//
// Exit codes: 0 ended as asked (or --check-config found nothing), 1 failed (or --check-config found
// errors), 2 wrong usage, 78 wrong configuration at start (EX_CONFIG of sysexits.h).
#include <fmt/format.h>
#include <prometheus/collectable.h>
#include <sodium.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <future>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/identity/identity.h"
#include "common/log.h"
#include "common/metrics/exposer.h"
#include "common/privileges.h"
#include "common/status.h"
#include "generated/version.h"
#include "nucleus/config/config.h"
#include "nucleus/metrics/metrics.h"
#include "nucleus/net/udp_socket.h"
#include "nucleus/registry/store.h"
#include "nucleus/server/server.h"

namespace omni {
namespace {

namespace asio = boost::asio;

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;
constexpr int kExitConfig = 78;
// LIMIT: the timer's clock stands still while the machine sleeps and ours does not.
constexpr Duration kLongestWait = 1s;
constexpr std::chrono::seconds kScrapeWait{3};

struct Arguments {
  std::string config = "/etc/omni/nucleus.toml";
  std::string user = "omni-nucleus";
  std::string log_level;  // empty: as configured
  bool check_config = false;
};

// Sockets, server and timer on one loop.
class Daemon {
 public:
  explicit Daemon(asio::io_context& loop) : loop_(loop), timer_(loop) {}

  absl::Status Start(const NucleusConfig& config, const Identity& identity, Store& store) {
    for (const Endpoint& at : config.listen) {
      RETURN_IF_ERROR(Listen(at, stun::ServerPort::kFirst));
      if (config.second_port == 0) continue;
      Endpoint second = at;
      second.port = config.second_port;
      RETURN_IF_ERROR(Listen(second, stun::ServerPort::kSecond));
    }
    std::vector<NucleusCluster> clusters;
    for (const auto& cluster : config.clusters) {
      clusters.push_back({cluster.name, cluster.keys, cluster.pools});
    }
    ASSIGN_OR_RETURN(
        server_,
        NucleusServer::Make(
            {.identity = &identity,
             .clusters = std::move(clusters),
             .limits = {.nodes = config.nodes_per_cluster, .retention = config.retention},
             .relay = {.pair_bytes_per_s = config.relay_pair_bytes,
                       .total_bytes_per_s = config.relay_total_bytes},
             .max_connections = config.max_connections,
             .send = [this](const quic::Route& to,
                            auto datagram) { Send(stun::ServerPort::kFirst, to, datagram); },
             .ports = {.first = config.listen.front().port, .second = config.second_port},
             .send_from = [this](stun::ServerPort from, const quic::Route& to,
                                 auto datagram) { Send(from, to, datagram); },
             .wall = [] { return static_cast<int64_t>(time(nullptr)); }},
            store));
    for (Socket& socket : sockets_) Wait(socket);
    Arm();
    return absl::OkStatus();
  }
  void Shutdown() { server_->Shutdown(Now()); }
  const NucleusServer& server() const { return *server_; }
  const DatagramCounters& datagrams() const { return datagrams_; }

 private:
  struct Socket {
    std::unique_ptr<UdpSocket> socket;
    std::unique_ptr<asio::posix::stream_descriptor> waiter;  // of a copy of its descriptor
    stun::ServerPort port = stun::ServerPort::kFirst;
  };

  absl::Status Listen(const Endpoint& at, stun::ServerPort port) {
    ASSIGN_OR_RETURN(auto socket, UdpSocket::Bind(at));
    auto waiter = std::make_unique<asio::posix::stream_descriptor>(loop_, dup(socket->fd()));
    sockets_.push_back({std::move(socket), std::move(waiter), port});
    return absl::OkStatus();
  }

  void Wait(Socket& socket) {
    socket.waiter->async_wait(asio::posix::stream_descriptor::wait_read,
                              [this, &socket](const boost::system::error_code& error) {
                                if (error) return;
                                socket.socket->Receive([&](auto datagram, const auto& from) {
                                  Take(socket.port, datagram, from);
                                });
                                Arm();
                                Wait(socket);
                              });
  }
  void Take(stun::ServerPort port, std::span<const uint8_t> datagram, const quic::Route& from) {
    ++datagrams_.received;
    if (port == stun::ServerPort::kFirst) return server_->OnDatagram(datagram, from, Now());
    server_->OnSecondPort(datagram, from, Now());
  }
  void Send(stun::ServerPort from, const quic::Route& to, std::span<const uint8_t> datagram) {
    const auto socket = std::ranges::find_if(sockets_, [&](const Socket& s) {
      return s.port == from && s.socket->family() == to.remote.address.family;
    });
    if (socket != sockets_.end() && socket->socket->Send(to, datagram)) {
      ++datagrams_.sent;
    } else {
      ++datagrams_.send_failures;
    }
  }
  void Arm() {
    const auto next = server_->NextDeadline();
    const Duration wait =
        next ? std::clamp<Duration>(*next - Now(), 0ns, kLongestWait) : kLongestWait;
    timer_.expires_after(wait);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      server_->OnTimer(Now());
      Arm();
    });
  }

  asio::io_context& loop_;
  asio::steady_timer timer_;
  std::vector<Socket> sockets_;
  DatagramCounters datagrams_;
  std::unique_ptr<NucleusServer> server_;
};

// Asks the loop, from a scraping thread, and waits a bounded time.
class Source : public prometheus::Collectable {
 public:
  Source(asio::io_context& loop, const Daemon& daemon) : loop_(loop), daemon_(daemon) {}
  std::vector<prometheus::MetricFamily> Collect() const override {
    auto result = std::make_shared<std::promise<std::vector<prometheus::MetricFamily>>>();
    auto future = result->get_future();
    asio::post(loop_, [daemon = &daemon_, result] {
      result->set_value(CollectNucleusMetrics(daemon->server(), daemon->datagrams()));
    });
    if (future.wait_for(kScrapeWait) != std::future_status::ready) return {};
    return future.get();
  }

 private:
  asio::io_context& loop_;
  const Daemon& daemon_;
};

// Directories that need root are made before it is given up.
absl::Status MakeStateAndDrop(const NucleusConfig& config, const Arguments& arguments) {
  if (mkdir(config.state_dir.c_str(), 0700) == 0) {
    if (geteuid() == 0) {
      ASSIGN_OR_RETURN(const User user, LookupUser(arguments.user));
      if (lchown(config.state_dir.c_str(), user.uid, user.gid) != 0) {
        return ErrnoStatus("chown " + config.state_dir);
      }
    }
  } else if (errno != EEXIST) {
    return ErrnoStatus("create directory " + config.state_dir);
  }
  return DropPrivileges({.user = arguments.user, .keep = {}, .extra_groups = {}});
}

// An identity is made only where there never was one: a file that cannot be read is an error.
absl::StatusOr<Identity> LoadOrCreate(const std::string& directory) {
  auto identity = Identity::Load(directory);
  if (!absl::IsNotFound(identity.status())) return identity;
  spdlog::info("first start: making an identity in {}", directory);
  return Identity::Create(directory);
}

absl::Status Serve(const NucleusConfig& config) {
  ASSIGN_OR_RETURN(const Identity identity, LoadOrCreate(config.identity_dir()));
  ASSIGN_OR_RETURN(const std::unique_ptr<Store> store, Store::Open(config.registry_file()));
  asio::io_context loop(1);
  Daemon daemon(loop);
  RETURN_IF_ERROR(daemon.Start(config, identity, *store));
  std::unique_ptr<prometheus::Exposer> exposer;
  std::shared_ptr<prometheus::Collectable> source;
  if (!config.metrics_listen.empty()) {
    ASSIGN_OR_RETURN(exposer, StartExposer(config.metrics_listen));
    source = std::make_shared<Source>(loop, daemon);
    exposer->RegisterCollectable(source);
  }
  asio::signal_set signals(loop, SIGTERM, SIGINT);
  std::thread stopper;
  signals.async_wait([&](const boost::system::error_code& error, int) {
    if (error) return;
    spdlog::info("stopping; tunnels go on without a Nucleus");
    sd_notify(0, "STOPPING=1");
    daemon.Shutdown();
    // A scrape under way is answered by the loop: it runs until the listener has ended.
    stopper = std::thread([&] {
      exposer.reset();
      loop.stop();
    });
  });
  sd_notify(0, "READY=1");
  spdlog::info("omni-nucleus {}: id {}, {} clusters", kVersion, identity.node_id().ToString(),
               config.clusters.size());
  loop.run();
  if (stopper.joinable()) stopper.join();
  return absl::OkStatus();
}

int Run(const Arguments& arguments) {
  if (sodium_init() < 0) {
    std::cerr << "omni-nucleus: libsodium does not start\n";
    return kExitFailure;
  }
  auto config = LoadNucleusConfig(arguments.config);
  if (arguments.check_config) {
    if (config.ok()) {
      std::cout << fmt::format("{}: ok ({} clusters)\n", arguments.config, config->clusters.size());
      return kExitOk;
    }
    std::cerr << Message(config.status()) << '\n';
    return kExitFailure;
  }
  std::signal(SIGPIPE, SIG_IGN);
  const absl::Status logging = InitLogging(
      "omni-nucleus", arguments.log_level.empty() ? std::string("info") : arguments.log_level);
  if (!logging.ok()) {
    std::cerr << "omni-nucleus: --log-level: " << Message(logging) << '\n';
    return kExitUsage;
  }
  if (!config.ok()) {
    spdlog::error("{}", Message(config.status()));
    return kExitConfig;
  }
  if (arguments.log_level.empty()) {
    spdlog::set_level(spdlog::level::from_str(config->log_level));
  }
  absl::Status status = MakeStateAndDrop(*config, arguments);
  if (status.ok()) status = Serve(*config);
  if (status.ok()) return kExitOk;
  spdlog::error("{}", Message(status));
  return kExitFailure;
}

int ParseAndRun(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("The Nucleus of OmniNervous: where the nodes of clusters find each other.",
               "omni-nucleus");
  app.set_version_flag("--version", fmt::format("omni-nucleus {}", kVersion));
  app.add_option("--config", arguments.config, "Configuration file")->capture_default_str();
  app.add_flag("--check-config", arguments.check_config, "Check the configuration, and end");
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
    std::fprintf(stderr, "omni-nucleus: %s\n", error.what());
    return omni::kExitFailure;
  }
}
