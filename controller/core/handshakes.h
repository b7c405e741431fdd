// SPDX-License-Identifier: Apache-2.0
// Handshakes: runs the HandshakeEngine against the dataplane: feeds it datagrams and time, installs
// what it yields and only then lets an answer go out, so that a responder can receive before the
// initiator sends. A session whose peer was removed or got another secret while the dataplane
// installed it is taken out again. Owned by the Controller, on the event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/clock.h"
#include "controller/dataplane_client/dataplane_client.h"
#include "controller/noise/engine.h"

namespace omni {

class Handshakes {
 public:
  struct Hooks {
    // Of a peer: differs from before when what was agreed before is void. 0: there is no such peer.
    std::function<uint64_t(const NodeId&)> epoch;
    // The dataplane holds the session now, and the peer is known and of the same epoch still.
    std::function<void(const noise::EstablishedSession&)> on_installed;
    std::function<void(const noise::EstablishedSession&, const absl::Status&)> on_refused;
    // The dataplane may hold the session, and must not: its peer is of another epoch by now.
    std::function<void(const noise::EstablishedSession&)> on_void;
    std::function<void(const noise::Failure&)> on_failure;
    // Initiations are on their way: the peer should send something as well, through its NAT.
    std::function<void(const noise::Call&)> on_call;
    // Before the dataplane or the peer hears of it.
    std::function<void(const noise::EstablishedSession&)> on_established;
    // Takes a message that does not go through the dataplane's port.
    std::function<bool(const noise::Datagram&)> divert;
  };
  struct Options {
    noise::HandshakeEngine::Options engine;
    dataplane::v1::SessionLimits limits;
    std::function<Instant()> clock;
    Hooks hooks;
  };

  Handshakes(boost::asio::io_context& loop, DataplaneClient& dataplane, Options options);

  noise::HandshakeEngine& engine() { return engine_; }
  const noise::HandshakeEngine& engine() const { return engine_; }
  bool IsConnecting(const NodeId& id) const { return engine_.IsConnecting(id); }
  void SetLimits(const dataplane::v1::SessionLimits& limits) { options_.limits = limits; }

  void SetSecrets(std::vector<noise::ClusterSecret> secrets);
  // As the engine's; a call that waited for a way to the peer begins.
  void SetEndpoint(const NodeId& id, const Endpoint& endpoint);
  void SetCandidates(const NodeId& id, std::vector<Endpoint> candidates);
  void SetRelay(const NodeId& id, const Endpoint& relay);
  void Initiate(const NodeId& id);
  // The peer is calling: opens our NAT for it.
  void Punch(const NodeId& id);
  void OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from);
  // By a relay at `relay`, which knows whom it is of.
  void OnRelayed(std::span<const uint8_t> datagram, const Endpoint& relay, const NodeId& from);
  // While they rest nothing is begun, and nobody is answered. What is under way with a peer is for
  // the owner to end (engine().OnConfirmed()).
  void Rest();
  void Resume();
  // The dataplane is gone: installations under way are void.
  void OnDisconnected() { ++connection_; }

 private:
  struct Delivery;
  void Deliver(noise::Output output);
  void Install(const noise::EstablishedSession& session, std::shared_ptr<Delivery> delivery);
  struct Asked {
    uint64_t connection = 0;
    uint64_t epoch = 0;  // of the peer
  };
  // Whether the session can be used.
  bool OnAnswered(const noise::EstablishedSession& session, Asked asked,
                  const absl::Status& answer);
  void SendAll(const std::vector<noise::Datagram>& datagrams);
  void ArmTimer();

  DataplaneClient& dataplane_;
  Options options_;
  noise::HandshakeEngine engine_;
  boost::asio::steady_timer timer_;
  uint64_t connection_ = 0;
  bool resting_ = false;
};

}  // namespace omni
