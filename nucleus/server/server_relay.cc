// SPDX-License-Identifier: Apache-2.0
// What members send each other through the Nucleus. Nothing here is answered.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/encoding.h"
#include "nucleus/server/server.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using quic::ConnectionId;

// LIMIT: proto/omni/signal/v1. A rekey of a relayed pair is one handshake message of each, every
// two minutes; its channels are opened when they are offered, and for longer when they are agreed.
constexpr double kHandshakeBurst = 100;
constexpr double kHandshakesPerSecond = 10;
constexpr double kOpenBurst = 300;
constexpr double kOpensPerSecond = 30;
// LIMIT: proto/omni/signal/v1.
constexpr double kCallBurst = 1000;
constexpr double kCallsPerSecond = 100;

}  // namespace

// The member is where its connection is.
void NucleusServer::NoteRemote(ConnectionId id, Connection& connection) {
  const auto known = by_endpoint_.find(connection.remote);
  if (known != by_endpoint_.end() && known->second == id) by_endpoint_.erase(known);
  connection.remote = host_->remote(id);
  if (connection.remote.is_set()) by_endpoint_.insert_or_assign(connection.remote, id);
}

void NucleusServer::Drop(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const auto known = by_endpoint_.find(found->second.remote);
  if (known != by_endpoint_.end() && known->second == id) by_endpoint_.erase(known);
  connections_.erase(found);
}

void NucleusServer::OnSessionData(std::span<const uint8_t> datagram, const quic::Route& from) {
  const auto sender = by_endpoint_.find(from.remote);
  if (sender == by_endpoint_.end()) {
    ++counters_.relay_strangers;
    return;
  }
  const Connection& connection = connections_.at(sender->second);
  const Cluster& cluster = *connection.cluster;
  const Relay::Decision decision = relay_.Take({cluster.number, connection.node}, datagram, now_);
  if (decision.verdict != Relay::Verdict::kForward) return;
  const auto member = cluster.members.find(*decision.to);
  if (member == cluster.members.end()) {
    ++counters_.relay_absent;
    return;
  }
  options_.send(host_->route(member->second), datagram);
}

void NucleusServer::OnOpenRelay(ConnectionId id, Connection& connection,
                                const pb::OpenRelay& message) {
  const auto peer = NodeId::FromBytes(message.peer());
  if (!peer || *peer == connection.node || message.channels_size() < 1 ||
      static_cast<size_t>(message.channels_size()) > kMaxOpenChannels || message.seconds() < 1 ||
      message.seconds() > kMaxOpenSeconds) {
    return Break(id, "an OpenRelay that is none");
  }
  if (!connection.opens.Take(kOpenBurst, kOpensPerSecond, now_)) {
    ++counters_.relay_too_fast;
    return;
  }
  const uint32_t cluster = connection.cluster->number;
  const std::vector<uint64_t> channels(message.channels().begin(), message.channels().end());
  (void)relay_.Open({cluster, *peer}, {cluster, connection.node}, channels,
                    now_ + std::chrono::seconds(message.seconds()), now_);
}

void NucleusServer::OnSendHandshake(ConnectionId id, Connection& connection,
                                    const pb::SendHandshake& message) {
  const auto peer = NodeId::FromBytes(message.peer());
  if (!peer || !IsHandshake(AsBytes(message.datagram())))
    return Break(id, "a handshake that is none");
  if (!relay_.enabled() ||
      !connection.handshakes.Take(kHandshakeBurst, kHandshakesPerSecond, now_)) {
    ++counters_.relay_too_fast;
    return;
  }
  const auto member = connection.cluster->members.find(*peer);
  if (member == connection.cluster->members.end()) {
    ++counters_.relay_absent;
    return;
  }
  pb::NucleusMessage out;
  out.mutable_handshake()->set_peer(connection.node.ToBytes());
  out.mutable_handshake()->set_datagram(message.datagram());
  // Best effort, as a datagram: who is behind with reading misses it.
  if (host_->Send(member->second, out.SerializeAsString(), now_).ok()) {
    ++counters_.relayed_handshakes;
  }
}

// Passed on as it is, and as long as there is room: who is called too often loses calls, not its
// connection.
void NucleusServer::OnCall(Connection& connection, const pb::Call& call) {
  const std::chrono::duration<double> elapsed = now_ - connection.calls_filled;
  connection.calls = std::min(kCallBurst, connection.calls + elapsed.count() * kCallsPerSecond);
  connection.calls_filled = now_;
  if (connection.calls < 1) return;
  connection.calls -= 1;
  const auto node = NodeId::FromBytes(call.node_id());
  if (!node || *node == connection.node) return;
  const auto member = connection.cluster->members.find(*node);
  if (member == connection.cluster->members.end()) return;
  pb::NucleusMessage message;
  message.mutable_called()->set_node_id(connection.node.ToBytes());
  const quic::ConnectionId to = member->second;  // Send() may end connections
  if (host_->Send(to, message.SerializeAsString(), now_).ok()) ++counters_.calls;
}

}  // namespace omni
