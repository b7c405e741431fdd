// SPDX-License-Identifier: Apache-2.0
// What the tests of the controller share: a loop that runs until a condition holds, and a node: a
// real controller with a real identity on a fake dataplane.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "controller/core/controller.h"
#include "controller/dataplane_client/fake_dataplane.h"

namespace omni {

class TestDirectory {
 public:
  TestDirectory() {
    static int number = 0;
    path_ = std::filesystem::temp_directory_path() /
            ("omni-test-" + std::to_string(getpid()) + "-" + std::to_string(number++));
    std::filesystem::create_directories(path_);
  }
  ~TestDirectory() { std::filesystem::remove_all(path_); }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class TestLoop {
 public:
  boost::asio::io_context io;
  FakeWire wire;
  Instant now = Now();
  std::unique_ptr<noise::Environment> environment = noise::SystemEnvironment();

  // LIMIT: 20 s, for a machine under load with sanitizers.
  template <typename Condition>
  bool RunUntil(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      io.restart();
      io.run_one_for(std::chrono::milliseconds(100));
    }
    return true;
  }
  // Everything that waits for nothing but its turn.
  void Drain() {
    do {
      io.restart();
    } while (io.poll() > 0);
  }
};

inline Key32 SomeKey(uint8_t fill) {
  std::array<uint8_t, 32> bytes{};
  bytes.fill(fill);
  return Key32(bytes);
}

struct TestNode {
  TestNode(TestLoop& on, const std::string& name, int number, uint8_t secret_fill = 1)
      : loop(on),
        identity(*Identity::Create(directory.path() + "/identity")),
        endpoint(*Endpoint::Parse("192.0.2." + std::to_string(number) + ":51900")),
        dataplane(on.io, on.wire, endpoint),
        secret(secret_fill) {
    config.file = directory.path() + "/controller.toml";
    config.name = name;
    config.state_dir = directory.path();
    config.cluster_secret_file = "/unused";
    config.addresses.push_back(
        *InterfaceAddress::Parse("10.77.0." + std::to_string(number) + "/24"));
  }

  // Of this node, as another one configures it.
  PeerSpec Spec() const {
    return {.name = config.name,
            .key = identity.public_key(),
            .endpoint = endpoint,
            .allowed = {{config.addresses[0].address, 32}},
            .psk = std::nullopt,
            .keepalive_s = 0};
  }
  void AddToConfig(PeerSpec spec) {
    config.peers.push_back({.spec = std::move(spec), .psk_file = "", .line = 1, .psk_line = 1});
  }
  Config CloneConfig() const {
    Config out;
    out.file = config.file;
    out.name = config.name;
    out.state_dir = config.state_dir;
    out.cluster_secret_file = config.cluster_secret_file;
    out.addresses = config.addresses;
    out.auto_addresses = config.auto_addresses;
    out.nucleus = config.nucleus;
    out.beacons = config.beacons;
    out.relay = config.relay;
    out.session = config.session;
    out.paths = config.paths;
    for (const PeerConfig& peer : config.peers) {
      out.peers.push_back({.spec = peer.spec.Clone(), .psk_file = "", .line = 1, .psk_line = 1});
    }
    return out;
  }
  void SetNucleus(const ClusterKeys& keys) {
    cluster = &keys;
    config.nucleus.addresses = {*HostPort::Parse("192.0.2.254:51900")};
  }
  // A controller that knows nothing but its files.
  absl::Status StartController() {
    controller.reset();
    dataplane.ForgetClient();
    controller = std::make_unique<Controller>(
        loop.io, dataplane,
        Controller::Options{.config = CloneConfig(),
                            .self = identity.public_key(),
                            .engine = {.static_private = identity.static_private().Clone(),
                                       .cluster_psk = SomeKey(secret),  // without a keyring
                                       .workers = 1,
                                       .environment = loop.environment.get()},
                            .identity = &identity,
                            .cluster = cluster == nullptr
                                           ? std::nullopt
                                           : std::optional(ClusterKeyring(cluster->Clone())),
                            .clock = [this] { return loop.now; },
                            .interfaces = [this](const std::string&) { return interfaces; },
                            .links = [this](const std::string&) { return links; },
                            .session_check_interval = session_check_interval});
    absl::Status status = controller->LoadPeers();
    controller->Start();
    return status;
  }
  const Peer& PeerNamed(const std::string& name) const { return *controller->peers().Find(name); }
  PeerState StateOf(const std::string& name) const {
    const Peer* peer = controller->peers().Find(name);
    return peer == nullptr ? PeerState::kIdle : controller->StateOf(*peer);
  }
  bool Connected() const { return controller->dataplane_view().connected; }

  TestLoop& loop;
  TestDirectory directory;
  Identity identity;
  Endpoint endpoint;
  FakeDataplane dataplane;
  uint8_t secret;
  std::chrono::milliseconds session_check_interval{10'000};
  Config config;
  const ClusterKeys* cluster = nullptr;  // for a Nucleus, with config.nucleus.addresses
  std::vector<IpAddress> interfaces;     // of the machine
  std::vector<NetworkLink> links;        // likewise
  std::unique_ptr<Controller> controller;
};

}  // namespace omni
