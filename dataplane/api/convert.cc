// SPDX-License-Identifier: Apache-2.0
#include "dataplane/api/convert.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "common/encoding.h"
#include "common/status.h"
#include "dataplane/hub/hub.h"

namespace omni {
namespace {

template <typename... T>
absl::Status Invalid(std::string_view field, fmt::format_string<T...> format, T&&... args) {
  return absl::InvalidArgumentError(
      fmt::format("{}: {}", field, fmt::format(format, std::forward<T>(args)...)));
}

template <size_t N>
absl::Status ReadKey(const std::string& raw, std::array<uint8_t, N>& key, std::string_view field) {
  if (raw.size() != N) return Invalid(field, "has {} bytes, not {}", raw.size(), N);
  std::ranges::copy(AsBytes(raw), key.begin());
  return absl::OkStatus();
}

// One for each secret of the cluster that the controller holds.
template <typename Keys>
absl::Status ReadSecretKeys(const google::protobuf::RepeatedPtrField<std::string>& raw, Keys& keys,
                            const std::string& field) {
  if (static_cast<size_t>(raw.size()) > keys.size()) {
    return Invalid(field, "has {} keys, at most {} are allowed", raw.size(), keys.size());
  }
  for (int i = 0; i < raw.size(); ++i) {
    RETURN_IF_ERROR(
        ReadKey(raw[i], keys[static_cast<size_t>(i)].emplace(), fmt::format("{}[{}]", field, i)));
  }
  return absl::OkStatus();
}

absl::StatusOr<IpAddress> ReadAddress(const std::string& raw, std::string_view field) {
  const auto address = IpAddress::FromBytes(AsBytes(raw));
  if (!address) return Invalid(field, "has {} bytes, not 4 or 16", raw.size());
  if (address->raw().size() != raw.size()) return Invalid(field, "is an IPv4-mapped IPv6 address");
  return *address;
}

absl::StatusOr<InterfaceAddress> ReadInterfaceAddress(const v1::Prefix& prefix,
                                                      std::string_view field) {
  ASSIGN_OR_RETURN(const IpAddress address,
                   ReadAddress(prefix.address(), fmt::format("{}.address", field)));
  if (prefix.length() > static_cast<uint32_t>(address.bits())) {
    return Invalid(fmt::format("{}.length", field), "{} is above {}", prefix.length(),
                   address.bits());
  }
  return InterfaceAddress{address, static_cast<uint8_t>(prefix.length())};
}

absl::StatusOr<IpPrefix> ReadPrefix(const v1::Prefix& prefix, std::string_view field) {
  ASSIGN_OR_RETURN(const InterfaceAddress a, ReadInterfaceAddress(prefix, field));
  if (MaskTo(a.address, a.length) != a.address) {
    return Invalid(field, "{} has bits beyond its length", a.ToString());
  }
  return IpPrefix{a.address, a.length};
}

absl::StatusOr<RelayLimits> ReadRelayLimits(const v1::Relay& relay, std::string_view field) {
  constexpr uint64_t kMaxRate = 1'000'000'000'000;
  const auto is_rate = [](uint64_t rate) { return rate >= 1 && rate <= kMaxRate; };
  if (!is_rate(relay.pair_bytes_per_s()) || !is_rate(relay.total_bytes_per_s())) {
    return Invalid(field, "a rate is not within 1-{}", kMaxRate);
  }
  return RelayLimits{.pair_bytes_per_s = relay.pair_bytes_per_s(),
                     .total_bytes_per_s = relay.total_bytes_per_s()};
}

absl::StatusOr<NodeSpec> ReadNode(const v1::Node& node, std::string_view field) {
  NodeSpec out;
  for (int i = 0; i < node.addresses_size(); ++i) {
    ASSIGN_OR_RETURN(
        const InterfaceAddress address,
        ReadInterfaceAddress(node.addresses(i), fmt::format("{}.addresses[{}]", field, i)));
    if (std::ranges::find(out.addresses, address) != out.addresses.end()) {
      return Invalid(fmt::format("{}.addresses[{}]", field, i), "occurs twice");
    }
    out.addresses.push_back(address);
  }
  if (node.mtu() != 0 && (node.mtu() < 1280 || node.mtu() > 65475)) {
    return Invalid(fmt::format("{}.mtu", field), "{} is neither 0 nor within 1280-65475",
                   node.mtu());
  }
  ASSIGN_OR_RETURN(out.paths, ReadPaths(node.paths(), fmt::format("{}.paths", field)));
  if (node.has_relay()) {
    ASSIGN_OR_RETURN(out.relay, ReadRelayLimits(node.relay(), fmt::format("{}.relay", field)));
  }
  out.mtu = node.mtu();
  out.down = node.down();
  ControlKeys& keys = out.control_keys;
  RETURN_IF_ERROR(ReadKey(node.mac1_key(), keys.mac1, fmt::format("{}.mac1_key", field)));
  if (!node.quic_cid_key().empty()) {
    RETURN_IF_ERROR(
        ReadKey(node.quic_cid_key(), keys.quic.emplace(), fmt::format("{}.quic_cid_key", field)));
  }
  if (!node.stun_key().empty()) {
    RETURN_IF_ERROR(
        ReadKey(node.stun_key(), keys.stun.emplace(), fmt::format("{}.stun_key", field)));
  }
  RETURN_IF_ERROR(
      ReadSecretKeys(node.beacon_keys(), keys.beacons, fmt::format("{}.beacon_keys", field)));
  RETURN_IF_ERROR(
      ReadSecretKeys(node.knock_keys(), keys.knocks, fmt::format("{}.knock_keys", field)));
  return out;
}

absl::StatusOr<PeerSpec> ReadPeer(const v1::Peer& peer, std::string_view field) {
  PeerSpec out;
  ASSIGN_OR_RETURN(out.id, ReadNodeId(peer.peer_id(), fmt::format("{}.peer_id", field)));
  if (peer.allowed_size() > static_cast<int>(HubLimits::kAllowedPerPeer)) {
    return absl::ResourceExhaustedError(
        fmt::format("{}.allowed: more than {}", field, HubLimits::kAllowedPerPeer));
  }
  for (int i = 0; i < peer.allowed_size(); ++i) {
    ASSIGN_OR_RETURN(const IpPrefix prefix,
                     ReadPrefix(peer.allowed(i), fmt::format("{}.allowed[{}]", field, i)));
    if (std::ranges::find(out.allowed, prefix) != out.allowed.end()) {
      return Invalid(fmt::format("{}.allowed[{}]", field, i), "occurs twice");
    }
    out.allowed.push_back(prefix);
  }
  if (peer.has_endpoint()) {
    ASSIGN_OR_RETURN(out.endpoint,
                     ReadEndpoint(peer.endpoint(), fmt::format("{}.endpoint", field)));
  }
  if (peer.persistent_keepalive_s() > 65535) {
    return Invalid(fmt::format("{}.persistent_keepalive_s", field), "{} is above 65535",
                   peer.persistent_keepalive_s());
  }
  out.persistent_keepalive = std::chrono::seconds(peer.persistent_keepalive_s());
  return out;
}

absl::StatusOr<std::vector<PeerSpec>> ReadPeers(
    const google::protobuf::RepeatedPtrField<v1::Peer>& peers, std::string_view field) {
  std::vector<PeerSpec> out;
  std::set<NodeId> seen;
  for (int i = 0; i < peers.size(); ++i) {
    ASSIGN_OR_RETURN(PeerSpec peer, ReadPeer(peers[i], fmt::format("{}[{}]", field, i)));
    if (!seen.insert(peer.id).second) {
      return Invalid(fmt::format("{}[{}].peer_id", field, i), "occurs twice");
    }
    out.push_back(std::move(peer));
  }
  return out;
}

absl::StatusOr<Key32> ReadKey(const std::string& raw, std::string_view field) {
  if (raw.size() != Key32::size()) return Invalid(field, "has {} bytes, not 32", raw.size());
  Key32 out;
  std::ranges::copy(AsBytes(raw), out.mutable_data());
  return out;
}

// The control channel of the session whose first bulk channel is given.
absl::StatusOr<ChannelSpec> ReadControlChannel(const v1::Channel& channel, ChannelId bulk,
                                               std::string_view field) {
  ChannelSpec out{.id = channel.id()};
  constexpr uint8_t kIndex = OMNI_CHANNEL_L3_CONTROL << OMNI_CHANNEL_KIND_SHIFT;
  if ((out.id & 0xff) != OMNI_MSG_DATA || out.id >> 16 != bulk >> 16 ||
      ChannelIndex(out.id) != kIndex) {
    return Invalid(fmt::format("{}.id", field),
                   "{:016x} is not control channel 0 of the bulk channels' session", out.id);
  }
  ASSIGN_OR_RETURN(out.key, ReadKey(channel.key(), fmt::format("{}.key", field)));
  return out;
}

absl::StatusOr<std::vector<ChannelSpec>> ReadChannels(
    const google::protobuf::RepeatedPtrField<v1::Channel>& channels, std::string_view field) {
  std::vector<ChannelSpec> out;
  if (channels.empty()) return Invalid(field, "is empty");
  if (channels.size() > static_cast<int>(HubLimits::kChannelsPerSession)) {
    return absl::ResourceExhaustedError(
        fmt::format("{}: more than {}", field, HubLimits::kChannelsPerSession));
  }
  for (int i = 0; i < channels.size(); ++i) {
    const v1::Channel& channel = channels[i];
    const std::string at = fmt::format("{}[{}]", field, i);
    const bool same_session = channel.id() >> 16 == channels[0].id() >> 16;
    if ((channel.id() & 0xff) != OMNI_MSG_DATA || !same_session ||
        ChannelIndex(channel.id()) != static_cast<uint8_t>(i)) {
      return Invalid(at + ".id", "{:016x} is not bulk channel {} of one session", channel.id(), i);
    }
    ChannelSpec& spec = out.emplace_back();
    spec.id = channel.id();
    ASSIGN_OR_RETURN(spec.key, ReadKey(channel.key(), at + ".key"));
  }
  return out;
}

absl::StatusOr<SessionTimers> ReadTimers(const v1::SessionLimits& limits) {
  SessionTimers out;
  const auto read = [](uint32_t ms, uint32_t max_ms,
                       std::string_view field) -> absl::StatusOr<Duration> {
    if (ms == 0 || ms > max_ms) return Invalid(field, "{} is not within 1-{}", ms, max_ms);
    return Duration(std::chrono::milliseconds(ms));
  };
  // LIMIT: the protocol's reject time; a controller may ask for less, never for more.
  constexpr uint32_t kMaxMs = 180'000;
  ASSIGN_OR_RETURN(out.reject_after,
                   read(limits.reject_after_ms(), kMaxMs, "limits.reject_after_ms"));
  const uint32_t reject = limits.reject_after_ms();
  ASSIGN_OR_RETURN(out.rekey_after, read(limits.rekey_after_ms(), reject, "limits.rekey_after_ms"));
  ASSIGN_OR_RETURN(out.rekey_on_receive,
                   read(limits.rekey_on_receive_ms(), reject, "limits.rekey_on_receive_ms"));
  ASSIGN_OR_RETURN(out.keepalive, read(limits.keepalive_ms(), kMaxMs, "limits.keepalive_ms"));
  ASSIGN_OR_RETURN(out.no_reply, read(limits.no_reply_ms(), kMaxMs, "limits.no_reply_ms"));
  return out;
}

v1::Endpoint WriteEndpoint(const Endpoint& endpoint) {
  v1::Endpoint out;
  out.set_address(AsString(endpoint.address.raw()));
  out.set_port(endpoint.port);
  out.set_scope_id(endpoint.scope_id);
  return out;
}

uint64_t Milliseconds(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

absl::StatusOr<Cipher> ReadCipher(v1::Cipher cipher, std::string_view field) {
  for (const Cipher known : kAllCiphers) {
    if (cipher == WriteCipher(known)) return known;
  }
  return Invalid(field, "{} is not known", static_cast<int>(cipher));
}

v1::SessionState WriteSession(const SessionView& view) {
  v1::SessionState out;
  out.set_session_id(AsString(view.id));
  out.set_role(view.role == SessionRole::kInitiator ? v1::ROLE_INITIATOR : v1::ROLE_RESPONDER);
  out.set_cipher(WriteCipher(view.cipher));
  switch (view.slot) {
    case SessionSlot::kCurrent:
      out.set_slot(v1::SESSION_SLOT_CURRENT);
      break;
    case SessionSlot::kNext:
      out.set_slot(v1::SESSION_SLOT_NEXT);
      break;
    case SessionSlot::kPrevious:
      out.set_slot(v1::SESSION_SLOT_PREVIOUS);
      break;
  }
  out.set_age_ms(Milliseconds(view.age));
  for (const ChannelId id : view.receive) out.add_receive_channel_ids(id);
  for (const ChannelId id : view.send) out.add_send_channel_ids(id);
  out.set_tx_packets(view.tx_packets);
  out.set_rx_packets(view.rx_packets);
  return out;
}

v1::HandshakeWanted::Reason WriteReason(HandshakeReason reason) {
  switch (reason) {
    case HandshakeReason::kNoSession:
      return v1::HandshakeWanted::REASON_NO_SESSION;
    case HandshakeReason::kRekey:
      return v1::HandshakeWanted::REASON_REKEY;
    case HandshakeReason::kNoReply:
      return v1::HandshakeWanted::REASON_NO_REPLY;
  }
  return v1::HandshakeWanted::REASON_UNSPECIFIED;
}

struct EventWriter {
  v1::StreamResponse& out;

  void operator()(const HandshakeWantedEvent& e) const {
    auto* m = out.mutable_event()->mutable_handshake_wanted();
    m->set_peer_id(e.peer.ToBytes());
    m->set_reason(WriteReason(e.reason));
  }
  void operator()(const SessionConfirmedEvent& e) const {
    auto* m = out.mutable_event()->mutable_session_confirmed();
    m->set_session_id(AsString(e.session));
    m->set_peer_id(e.peer.ToBytes());
  }
  void operator()(const SessionEndedEvent& e) const {
    auto* m = out.mutable_event()->mutable_session_ended();
    m->set_session_id(AsString(e.session));
    m->set_peer_id(e.peer.ToBytes());
    m->set_reason(e.reason == SessionEnd::kExpired ? v1::SessionEnded::REASON_EXPIRED
                                                   : v1::SessionEnded::REASON_REPLACED);
  }
  void operator()(const EndpointChangedEvent& e) const {
    auto* m = out.mutable_event()->mutable_endpoint_changed();
    m->set_peer_id(e.peer.ToBytes());
    *m->mutable_endpoint() = WriteEndpoint(e.endpoint);
  }
  void operator()(const EchoReplyEvent& e) const {
    auto* m = out.mutable_event()->mutable_echo_reply();
    m->set_peer_id(e.peer.ToBytes());
    m->set_token(e.token);
    m->set_rtt_ns(static_cast<uint64_t>(e.rtt.count()));
  }
  void operator()(const PacketInEvent& e) const {
    *out.mutable_packet_in()->mutable_from() = WriteEndpoint(e.from);
    out.mutable_packet_in()->set_payload(AsString(e.datagram));
  }
};

}  // namespace

absl::StatusOr<Endpoint> ReadEndpoint(const v1::Endpoint& endpoint, std::string_view field) {
  Endpoint out;
  ASSIGN_OR_RETURN(out.address, ReadAddress(endpoint.address(), fmt::format("{}.address", field)));
  if (endpoint.port() == 0 || endpoint.port() > 65535) {
    return Invalid(fmt::format("{}.port", field), "{} is not within 1-65535", endpoint.port());
  }
  out.port = static_cast<uint16_t>(endpoint.port());
  out.scope_id = endpoint.scope_id();
  return out;
}

absl::StatusOr<UdpPath> ReadControlPath(const v1::PacketOut& packet) {
  ASSIGN_OR_RETURN(const Endpoint to, ReadEndpoint(packet.to(), "packet_out.to"));
  UdpPath path{.remote = to};
  if (packet.from().empty()) return path;
  ASSIGN_OR_RETURN(path.local, ReadAddress(packet.from(), "packet_out.from"));
  if (path.local->family != to.address.family) {
    return Invalid("packet_out.from", "is of another family than packet_out.to");
  }
  return path;
}

absl::StatusOr<NodeId> ReadNodeId(std::string_view raw, std::string_view field) {
  const auto id = NodeId::FromBytes(raw);
  if (!id) return Invalid(field, "has {} bytes, not 16", raw.size());
  return *id;
}

absl::StatusOr<SessionId> ReadSessionId(std::string_view raw, std::string_view field) {
  SessionId out;
  if (raw.size() != out.size()) return Invalid(field, "has {} bytes, not 16", raw.size());
  std::ranges::copy(AsBytes(raw), out.begin());
  return out;
}

absl::StatusOr<StateChange> ReadStateChange(const v1::ApplyStateRequest& request) {
  StateChange out{.generation = request.generation()};
  if (request.generation() == 0) return Invalid("generation", "is 0");
  switch (request.change_case()) {
    case v1::ApplyStateRequest::kFull: {
      if (!request.full().has_node()) return Invalid("full.node", "is missing");
      ASSIGN_OR_RETURN(out.node, ReadNode(request.full().node(), "full.node"));
      ASSIGN_OR_RETURN(out.upsert, ReadPeers(request.full().peers(), "full.peers"));
      return out;
    }
    case v1::ApplyStateRequest::kDelta: {
      out.base_generation = request.base_generation();
      const v1::StateDelta& delta = request.delta();
      if (delta.has_node()) {
        ASSIGN_OR_RETURN(out.node, ReadNode(delta.node(), "delta.node"));
      }
      ASSIGN_OR_RETURN(out.upsert, ReadPeers(delta.upsert(), "delta.upsert"));
      for (int i = 0; i < delta.remove_size(); ++i) {
        ASSIGN_OR_RETURN(const NodeId id,
                         ReadNodeId(delta.remove(i), fmt::format("delta.remove[{}]", i)));
        out.remove.push_back(id);
      }
      return out;
    }
    case v1::ApplyStateRequest::CHANGE_NOT_SET:
      break;
  }
  return Invalid("change", "is missing");
}

absl::StatusOr<SessionSpec> ReadSession(const v1::InstallSessionRequest& request) {
  SessionSpec out;
  ASSIGN_OR_RETURN(out.id, ReadSessionId(request.session_id(), "session_id"));
  ASSIGN_OR_RETURN(out.peer, ReadNodeId(request.peer_id(), "peer_id"));
  if (request.role() != v1::ROLE_INITIATOR && request.role() != v1::ROLE_RESPONDER) {
    return Invalid("role", "{} is neither INITIATOR nor RESPONDER",
                   static_cast<int>(request.role()));
  }
  out.role =
      request.role() == v1::ROLE_INITIATOR ? SessionRole::kInitiator : SessionRole::kResponder;
  ASSIGN_OR_RETURN(out.cipher, ReadCipher(request.cipher(), "cipher"));
  ASSIGN_OR_RETURN(out.receive, ReadChannels(request.receive(), "receive"));
  ASSIGN_OR_RETURN(out.send, ReadChannels(request.send(), "send"));
  if (request.has_control_receive()) {
    ASSIGN_OR_RETURN(out.control_receive, ReadControlChannel(request.control_receive(),
                                                             out.receive[0].id, "control_receive"));
  }
  if (request.has_control_send()) {
    ASSIGN_OR_RETURN(out.control_send,
                     ReadControlChannel(request.control_send(), out.send[0].id, "control_send"));
  }
  if (!request.has_endpoint()) return Invalid("endpoint", "is missing");
  ASSIGN_OR_RETURN(out.endpoint, ReadEndpoint(request.endpoint(), "endpoint"));
  ASSIGN_OR_RETURN(out.timers, ReadTimers(request.limits()));
  return out;
}

absl::StatusOr<RelaySpec> ReadRelay(const v1::OpenRelayRequest& request) {
  RelaySpec out;
  ASSIGN_OR_RETURN(out.from, ReadNodeId(request.from(), "from"));
  ASSIGN_OR_RETURN(out.to, ReadNodeId(request.to(), "to"));
  if (request.channels_size() < 1 || request.channels_size() > static_cast<int>(kMaxOpenChannels)) {
    return Invalid("channels", "has {} entries, not 1-{}", request.channels_size(),
                   kMaxOpenChannels);
  }
  for (const ChannelId id : request.channels()) {
    if ((id & 0xff) != OMNI_MSG_DATA) {
      return Invalid("channels", "{:016x} is no channel of session data", id);
    }
    out.channels.push_back(id);
  }
  if (request.seconds() < 1 || request.seconds() > kMaxOpenSeconds) {
    return Invalid("seconds", "{} is not within 1-{}", request.seconds(), kMaxOpenSeconds);
  }
  out.lifetime = std::chrono::seconds(request.seconds());
  return out;
}

v1::Cipher WriteCipher(Cipher cipher) {
  switch (cipher) {
    case Cipher::kChaCha20Poly1305:
      return v1::CIPHER_CHACHA20_POLY1305;
    case Cipher::kAes256Gcm:
      return v1::CIPHER_AES_256_GCM;
  }
  return v1::CIPHER_UNSPECIFIED;
}

v1::GetStateResponse WriteState(const StateView& view) {
  v1::GetStateResponse out;
  out.set_generation(view.generation);
  for (const PeerView& peer : view.peers) {
    v1::PeerState* state = out.add_peers();
    state->set_peer_id(peer.id.ToBytes());
    if (peer.endpoint) *state->mutable_endpoint() = WriteEndpoint(*peer.endpoint);
    for (const SessionView& session : peer.sessions) *state->add_sessions() = WriteSession(session);
  }
  return out;
}

namespace {

v1::PathMtuState WriteState(PathMtuSearch::State state) {
  switch (state) {
    case PathMtuSearch::State::kBase:
      return v1::PATH_MTU_STATE_BASE;
    case PathMtuSearch::State::kSearching:
      return v1::PATH_MTU_STATE_SEARCHING;
    case PathMtuSearch::State::kComplete:
      return v1::PATH_MTU_STATE_COMPLETE;
    case PathMtuSearch::State::kError:
      return v1::PATH_MTU_STATE_ERROR;
  }
  return v1::PATH_MTU_STATE_UNSPECIFIED;
}

}  // namespace

v1::PeerCounters WriteTotals(const PeerTotals& totals) {
  v1::PeerCounters out;
  out.set_peer_id(totals.id.ToBytes());
  out.set_tx_packets(totals.tx_packets);
  out.set_tx_bytes(totals.tx_bytes);
  out.set_rx_packets(totals.rx_packets);
  out.set_rx_bytes(totals.rx_bytes);
  out.set_last_rx_age_ms(Milliseconds(totals.last_rx_age));
  out.set_path_mtu(totals.path_mtu.carries);
  out.set_inner_mtu(totals.path_mtu.inner);
  out.set_path_mtu_state(WriteState(totals.path_mtu.state));
  return out;
}

v1::StreamResponse WriteEvent(ControllerEvent event) {
  v1::StreamResponse out;
  std::visit(EventWriter{out}, event);
  return out;
}

}  // namespace omni
