// SPDX-License-Identifier: Apache-2.0
// Edge: a node towards its Nucleus and nothing else: the product's QUIC, its messages, proofs and
// records. What it is told of others it gives to whoever asked for it, unread: a thousand edges in
// one process cannot check what a thousand machines check. Owned by a Swarm, on its thread.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/identity/cluster.h"
#include "common/identity/identity.h"
#include "common/ip.h"
#include "omni/signal/v1/signal.pb.h"
#include "signal/quic/host.h"

namespace omni {

class Edge : public quic::Listener {
 public:
  struct Options {
    const ClusterKeys* cluster = nullptr;  // not owned
    Endpoint nucleus;
    std::string name;
    IpAddress address;  // virtual
    Endpoint own;       // of its socket
    std::function<void(std::span<const uint8_t>)> send;
    // A message that came after the registration.
    std::function<void(std::string_view)> told;
  };
  Edge(Identity identity, Options options);

  void Join(Instant now);
  // Says that it is called so from now on.
  void Rename(std::string name, Instant now);
  void OnDatagram(std::span<const uint8_t> datagram, Instant now);
  void OnTimer(Instant now);
  std::optional<Instant> NextDeadline() const { return host_->NextDeadline(); }

  const std::string& name() const { return options_.name; }
  bool is_registered() const { return registered_.has_value(); }
  // Since the last one of either.
  Instant joined() const { return joined_; }
  std::optional<Instant> registered() const { return registered_; }
  // Why it is not, or not any more.
  const std::string& error() const { return error_; }

  // quic::Listener
  void OnConnected(quic::ConnectionId id, const quic::PublicKey& peer) override;
  void OnMessage(quic::ConnectionId id, std::string_view message) override;
  void OnWritable(quic::ConnectionId) override {}
  void OnMoved(quic::ConnectionId, const Endpoint&) override {}
  void OnClosed(quic::ConnectionId id, const quic::Closed& closed) override;

 private:
  void Register();
  signal::v1::SignedRecord Record();

  const Identity identity_;
  Options options_;
  std::unique_ptr<quic::Host> host_;
  std::optional<quic::ConnectionId> connection_;
  Instant now_;  // of the event under way
  uint64_t sequence_ = 0;
  Instant joined_;
  std::optional<Instant> registered_;
  std::string error_;
};

}  // namespace omni
