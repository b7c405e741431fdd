// SPDX-License-Identifier: Apache-2.0
// What members say to one that relays, and it to them. As between a node and its Nucleus; here
// either side of a connection may be the relay.
#include <utility>

#include "common/encoding.h"
#include "common/relay/relay.h"
#include "controller/mesh/signaling.h"
#include "signal/record/codes.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using quic::ConnectionId;

bool IsOpenRelay(const pb::OpenRelay& message) {
  return message.channels_size() >= 1 &&
         static_cast<size_t>(message.channels_size()) <= kMaxOpenChannels &&
         message.seconds() >= 1 && message.seconds() <= kMaxOpenSeconds;
}

}  // namespace

void PeerSignaling::SendHandshake(const Relayed& to, std::span<const uint8_t> datagram,
                                  Instant now) {
  now_ = now;
  pb::PeerMessage message;
  message.mutable_send_handshake()->set_peer(to.peer.ToBytes());
  message.mutable_send_handshake()->set_datagram(AsString(datagram));
  SayTo(to.via, std::move(message));
}

void PeerSignaling::OpenRelay(const Relayed& to, std::span<const uint64_t> channels,
                              uint32_t seconds, Instant now) {
  now_ = now;
  pb::PeerMessage message;
  pb::OpenRelay& open = *message.mutable_open_relay();
  open.set_peer(to.peer.ToBytes());
  for (const uint64_t channel : channels) open.add_channels(channel);
  open.set_seconds(seconds);
  SayTo(to.via, std::move(message));
}

void PeerSignaling::PassHandshake(const NodeId& from, const NodeId& to,
                                  std::span<const uint8_t> datagram, Instant now) {
  now_ = now;
  pb::PeerMessage message;
  message.mutable_handshake()->set_peer(from.ToBytes());
  message.mutable_handshake()->set_datagram(AsString(datagram));
  SayTo(to, std::move(message));
}

void PeerSignaling::TellRelayClosed(const NodeId& to, Instant now) {
  now_ = now;
  pb::PeerMessage message;
  message.mutable_relay_closed();
  SayTo(to, std::move(message));
}

void PeerSignaling::OnRelaying(ConnectionId id, const NodeId& from,
                               const pb::PeerMessage& message) {
  const auto refuse = [&](std::string_view why) {
    ++refused_;
    Close(id, kCloseViolation, why);
  };
  // Who it is about is neither of the two who talk.
  const auto read_peer = [&](const std::string& raw) {
    const auto peer = NodeId::FromBytes(raw);
    const bool is_third = peer && *peer != from && *peer != options_.identity->node_id();
    return is_third ? peer : std::nullopt;
  };
  if (message.has_open_relay()) {
    const auto peer = read_peer(message.open_relay().peer());
    if (!peer || !IsOpenRelay(message.open_relay())) return refuse("an OpenRelay that is none");
    options_.open(*peer, from, message.open_relay());
  } else if (message.has_send_handshake()) {
    const auto datagram = AsBytes(message.send_handshake().datagram());
    const auto peer = read_peer(message.send_handshake().peer());
    if (!peer || !IsHandshake(datagram)) return refuse("a handshake that is none");
    options_.pass(from, *peer, datagram);
  } else if (message.has_handshake()) {
    const auto datagram = AsBytes(message.handshake().datagram());
    const auto peer = read_peer(message.handshake().peer());
    if (!peer || !IsHandshake(datagram)) return refuse("a handshake that is none");
    options_.handshake(from, *peer, datagram);
  } else {
    options_.relay_closed(from);
  }
}

}  // namespace omni
