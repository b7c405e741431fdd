// SPDX-License-Identifier: Apache-2.0
// Discovery: what the NucleusClient needs of the world: the clock, names resolved, the machine's
// addresses as they change, the way through the dataplane's UDP port. Owned by the Controller, on
// the event loop.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/clock.h"
#include "controller/config/config.h"
#include "controller/net/interfaces.h"
#include "controller/net/resolver.h"
#include "controller/nucleus/client.h"

namespace omni {

class Discovery {
 public:
  struct Options {
    const Identity* identity = nullptr;    // not owned
    const ClusterKeys* cluster = nullptr;  // not owned
    std::function<Instant()> clock;
    std::function<void(const Endpoint& to, std::span<const uint8_t> datagram)> send;
    KnownRecords::Hooks records;
    // Of this machine, but for those of the interface named.
    std::function<std::vector<IpAddress>(const std::string&)> interfaces = InterfaceAddresses;
  };
  Discovery(boost::asio::io_context& loop, const Config& config, Options options);

  // What an earlier process knew of others; the hooks hear of it. Trouble is logged: it is not
  // worth a refusal to start.
  void Load();

  const QuicCidKey& cid_key() const { return cid_key_; }
  NucleusView view() const { return client_->view(); }

  // The dataplane is there: datagrams can leave.
  void OnDataplane(const Config& config, const std::string& tun_name, uint16_t port);
  void OnDataplaneGone();
  // Name or addresses have changed.
  void OnConfig(const Config& config);
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from);
  // Tells the Nucleus that this node ends.
  void Stop();

 private:
  void Describe();
  void Resolve();
  void ArmTimer();
  void SaveSoon();
  void Save();

  const Options options_;
  const DiscoveryConfig nucleus_;
  const std::string file_;
  QuicCidKey cid_key_{};
  std::unique_ptr<NucleusClient> client_;
  boost::asio::steady_timer timer_;
  boost::asio::steady_timer save_timer_;
  bool save_pending_ = false;
  bool loading_ = false;
  Resolver resolver_;
  AddressWatcher watcher_;

  std::string name_;
  std::vector<InterfaceAddress> addresses_;
  std::string tun_name_;
  uint16_t port_ = 0;  // 0: not known yet
  bool online_ = false;
};

}  // namespace omni
