// SPDX-License-Identifier: Apache-2.0
#include "controller/core/handshakes.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "controller/core/convert.h"

namespace omni {
namespace {

// LIMIT: the timer's clock stands still while the machine sleeps and ours does not: look at ours
// once a second, so that a woken robot calls again at once.
constexpr Duration kLongestWait = 1s;

}  // namespace

// Datagrams that wait until every session they belong to is installed.
struct Handshakes::Delivery {
  std::vector<noise::EstablishedSession> sessions;
  std::vector<noise::Datagram> datagrams;
  size_t missing = 0;
  bool refused = false;
};

Handshakes::Handshakes(boost::asio::io_context& loop, DataplaneClient& dataplane, Options options)
    : dataplane_(dataplane),
      options_(std::move(options)),
      engine_(std::move(options_.engine)),
      timer_(loop) {}

void Handshakes::Initiate(const NodeId& id) {
  if (!resting_) Deliver(engine_.Initiate(id, options_.clock()));
}

void Handshakes::SetSecrets(std::vector<noise::ClusterSecret> secrets) {
  engine_.SetSecrets(std::move(secrets));
  ArmTimer();
}

void Handshakes::SetEndpoint(const NodeId& id, const Endpoint& endpoint) {
  engine_.SetEndpoint(id, endpoint);
  ArmTimer();
}

void Handshakes::SetCandidates(const NodeId& id, std::vector<Endpoint> candidates) {
  engine_.SetCandidates(id, std::move(candidates));
  ArmTimer();
}

void Handshakes::SetRelay(const NodeId& id, const Endpoint& relay) {
  engine_.SetRelay(id, relay);
  ArmTimer();
}

void Handshakes::Punch(const NodeId& id) {
  if (!resting_) Deliver(engine_.Punch(id, options_.clock()));
}

void Handshakes::OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from) {
  if (resting_) return;
  Deliver(engine_.OnDatagram(datagram, from, options_.clock()));
}

void Handshakes::OnRelayed(std::span<const uint8_t> datagram, const Endpoint& relay,
                           const NodeId& from) {
  if (resting_) return;
  noise::Output output = engine_.OnDatagram(datagram, relay, options_.clock());
  // A cookie reply is for whoever sent the message, a peer or not.
  for (noise::Datagram& answer : output.datagrams) answer.peer = answer.peer.value_or(from);
  Deliver(std::move(output));
}

void Handshakes::Rest() {
  resting_ = true;
  timer_.cancel();
}

void Handshakes::Resume() {
  resting_ = false;
  ArmTimer();
}

void Handshakes::Deliver(noise::Output output) {
  if (output.sessions.empty()) {
    SendAll(output.datagrams);
  } else {
    auto delivery = std::make_shared<Delivery>();
    delivery->sessions = std::move(output.sessions);
    delivery->datagrams = std::move(output.datagrams);
    delivery->missing = delivery->sessions.size();
    for (const auto& session : delivery->sessions) options_.hooks.on_established(session);
    for (const auto& session : delivery->sessions) Install(session, delivery);
  }
  for (const noise::Call& call : output.calls) options_.hooks.on_call(call);
  for (const noise::Failure& failure : output.failures) options_.hooks.on_failure(failure);
  ArmTimer();
}

void Handshakes::Install(const noise::EstablishedSession& session,
                         std::shared_ptr<Delivery> delivery) {
  using dataplane::v1::InstallSessionResponse;
  dataplane_.InstallSession(
      ToProto(session, options_.limits),
      [this, asked = Asked{connection_, options_.hooks.epoch(session.peer)},
       delivery = std::move(delivery),
       &session](const absl::StatusOr<InstallSessionResponse>& response) {
        // `session` is an element of the delivery, which this callback owns.
        if (!OnAnswered(session, asked, response.status())) {
          delivery->refused = true;
          if (!session.receive.empty()) {
            engine_.ReleaseTag(noise::HandshakeEngine::TagOf(session.receive.front().id));
          }
        }
        if (--delivery->missing == 0 && !delivery->refused) SendAll(delivery->datagrams);
      });
}

bool Handshakes::OnAnswered(const noise::EstablishedSession& session, Asked asked,
                            const absl::Status& answer) {
  if (asked.epoch == 0 || options_.hooks.epoch(session.peer) != asked.epoch) {
    // Even when the answer is an error: perhaps only the answer was lost. It is no failure: what
    // was agreed with the peer as it was says nothing about the peer as it is.
    options_.hooks.on_void(session);
    return false;
  }
  if (asked.connection != connection_) {
    options_.hooks.on_refused(session, absl::UnavailableError("the dataplane went away"));
    return false;
  }
  if (answer.ok()) {
    options_.hooks.on_installed(session);
  } else {
    options_.hooks.on_refused(session, answer);
  }
  return answer.ok();
}

void Handshakes::SendAll(const std::vector<noise::Datagram>& datagrams) {
  for (const noise::Datagram& datagram : datagrams) {
    if (options_.hooks.divert(datagram)) continue;
    dataplane::v1::PacketOut packet;
    ToProto(datagram.to, *packet.mutable_to());
    packet.set_payload(AsString(datagram.bytes));
    dataplane_.SendPacket(packet);
  }
}

void Handshakes::ArmTimer() {
  const auto deadline = engine_.NextDeadline();
  if (!deadline || resting_) {
    timer_.cancel();
    return;
  }
  timer_.expires_after(std::clamp<Duration>(*deadline - options_.clock(), 0ns, kLongestWait));
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && !resting_) Deliver(engine_.OnTimer(options_.clock()));
  });
}

}  // namespace omni
