// SPDX-License-Identifier: Apache-2.0
#include "controller/api/views.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "common/cipher.h"
#include "common/encoding.h"
#include "controller/core/convert.h"
#include "generated/version.h"

namespace omni {
namespace {

namespace api = control::v1;
namespace dp = dataplane::v1;

api::PeerState StateToProto(PeerState state) {
  switch (state) {
    case PeerState::kIdle:
      return api::PEER_STATE_IDLE;
    case PeerState::kConnecting:
      return api::PEER_STATE_CONNECTING;
    case PeerState::kUp:
      return api::PEER_STATE_UP;
    case PeerState::kUnreachable:
      return api::PEER_STATE_UNREACHABLE;
    case PeerState::kRevoked:
      return api::PEER_STATE_REVOKED;
  }
  return api::PEER_STATE_UNSPECIFIED;
}

api::PathMtuState PathMtuStateToProto(dp::PathMtuState state) {
  switch (state) {
    case dp::PATH_MTU_STATE_BASE:
      return api::PATH_MTU_STATE_BASE;
    case dp::PATH_MTU_STATE_SEARCHING:
      return api::PATH_MTU_STATE_SEARCHING;
    case dp::PATH_MTU_STATE_COMPLETE:
      return api::PATH_MTU_STATE_COMPLETE;
    case dp::PATH_MTU_STATE_ERROR:
      return api::PATH_MTU_STATE_ERROR;
    default:
      return api::PATH_MTU_STATE_UNSPECIFIED;
  }
}

api::PeerOrigin OriginToProto(const Controller& controller, const Peer& peer) {
  switch (peer.origin) {
    case PeerOrigin::kConfig:
      return api::PEER_ORIGIN_CONFIG;
    case PeerOrigin::kApi:
      return api::PEER_ORIGIN_API;
    case PeerOrigin::kNucleus:
      return controller.IsToldByNodes(peer.id()) ? api::PEER_ORIGIN_NODES
                                                 : api::PEER_ORIGIN_NUCLEUS;
  }
  return api::PEER_ORIGIN_UNSPECIFIED;
}

api::Mapping MappingToProto(stun::Mapping mapping) {
  switch (mapping) {
    case stun::Mapping::kUnknown:
      return api::MAPPING_UNKNOWN;
    case stun::Mapping::kNone:
      return api::MAPPING_NONE;
    case stun::Mapping::kPortIndependent:
      return api::MAPPING_PORT_INDEPENDENT;
    case stun::Mapping::kEndpointIndependent:
      return api::MAPPING_ENDPOINT_INDEPENDENT;
    case stun::Mapping::kAddressDependent:
      return api::MAPPING_ADDRESS_DEPENDENT;
    case stun::Mapping::kAddressAndPortDependent:
      return api::MAPPING_ADDRESS_AND_PORT_DEPENDENT;
  }
  return api::MAPPING_UNSPECIFIED;
}

api::NucleusState StateToProto(NucleusState state) {
  switch (state) {
    case NucleusState::kWaiting:
      return api::NUCLEUS_STATE_WAITING;
    case NucleusState::kResolving:
    case NucleusState::kConnecting:
    case NucleusState::kRegistering:
      return api::NUCLEUS_STATE_CONNECTING;
    case NucleusState::kRegistered:
      return api::NUCLEUS_STATE_REGISTERED;
  }
  return api::NUCLEUS_STATE_UNSPECIFIED;
}

std::string SlotName(dp::SessionSlot slot) {
  switch (slot) {
    case dp::SESSION_SLOT_CURRENT:
      return "current";
    case dp::SESSION_SLOT_NEXT:
      return "next";
    case dp::SESSION_SLOT_PREVIOUS:
      return "previous";
    default:
      return "unknown";
  }
}

void FillPath(const Controller& controller, const Peer& peer, api::Peer& out) {
  if (!peer.endpoint.is_set()) return;
  if (!controller.IsRelayed(peer)) return out.set_path(api::PEER_PATH_DIRECT);
  out.set_path(api::PEER_PATH_RELAY);
  if (const Peer* relay = controller.RelayOf(peer)) out.set_relay(relay->spec.name);
  const auto learned = controller.learned().find(peer.id());
  std::string tried;
  if (learned != controller.learned().end()) {
    for (const Candidate& candidate : learned->second.record.candidates) {
      tried += (tried.empty() ? "" : ", ") + candidate.endpoint.ToString();
    }
  }
  std::string reason =
      tried.empty() ? "it has told no address of its own" : "no direct answer from " + tried;
  const PortSearches* searches = controller.searches();
  const std::string searched = searches == nullptr ? "" : searches->Describe(peer.id());
  if (!searched.empty()) reason += "; " + searched;
  out.set_path_reason(reason);
}

void FillCiphers(const Controller& controller, const dp::GetInfoResponse& info,
                 api::GetStatusResponse::Dataplane& out) {
  for (const dp::CipherInfo& from : info.ciphers()) {
    const auto cipher = FromProto(from.cipher());
    if (!cipher) continue;
    if (*cipher == Cipher::kChaCha20Poly1305) out.set_aead_backend(from.backend());
    api::GetStatusResponse::Cipher& added = *out.add_ciphers();
    added.set_name(std::string(CipherName(*cipher)));
    added.set_backend(from.backend());
    added.set_ns_64(from.ns_64());
    added.set_ns_1420(from.ns_1420());
    const auto& offered = controller.offered_ciphers();
    added.set_offered(std::ranges::find(offered, *cipher) != offered.end());
  }
}

void FillRelay(const Controller& controller, const dp::GetInfoResponse& info,
               api::GetStatusResponse& status) {
  const RelayConfig& config = controller.config().relay;
  if (!config.for_peers) return;
  api::GetStatusResponse::Relay& out = *status.mutable_relay();
  out.set_pair_bytes_per_s(config.limits.pair_bytes_per_s);
  out.set_total_bytes_per_s(config.limits.total_bytes_per_s);
  out.set_pairs(info.relayed().pairs());
  out.set_packets(info.relayed().packets());
  out.set_bytes(info.relayed().bytes());
  out.set_handshakes(controller.relay_counters().handshakes);
}

}  // namespace

google::protobuf::Duration ToProto(Duration duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  google::protobuf::Duration out;
  out.set_seconds(seconds.count());
  out.set_nanos(static_cast<int32_t>((duration - seconds).count()));
  return out;
}

void FillPeer(const Controller& controller, const Peer& peer, const dp::PeerCounters* counters,
              api::Peer& out) {
  out.set_name(peer.spec.name);
  out.set_node_id(peer.id().ToString());
  out.set_key(peer.spec.key.ToString());
  out.set_origin(OriginToProto(controller, peer));
  for (const IpPrefix& prefix : peer.spec.allowed) out.add_allowed(prefix.ToString());
  if (peer.spec.endpoint.is_set()) out.set_configured_endpoint(peer.spec.endpoint.ToString());
  if (peer.endpoint.is_set()) out.set_endpoint(peer.endpoint.ToString());
  FillPath(controller, peer, out);
  if (const auto kind = controller.PathOf(peer)) out.set_path_kind(std::string(Name(*kind)));
  const auto learned = controller.learned().find(peer.id());
  if (learned != controller.learned().end()) {
    out.set_record_sequence(learned->second.record.sequence);
  }
  out.set_has_psk(peer.spec.psk.has_value());
  out.set_persistent_keepalive_s(peer.spec.keepalive_s);
  out.set_state(StateToProto(controller.StateOf(peer)));
  out.set_last_error(peer.last_error);
  if (peer.has_confirmed_session() && peer.cipher) {
    out.set_cipher(std::string(CipherName(*peer.cipher)));
  }
  if (peer.last_handshake) {
    *out.mutable_last_handshake_age() = ToProto(controller.now() - *peer.last_handshake);
  }
  if (peer.rtt) *out.mutable_rtt() = ToProto(*peer.rtt);
  const LossWindow::Loss loss = peer.loss.Get(controller.now());
  out.set_loss_percent(static_cast<float>(loss.percent()));
  out.set_loss_samples(loss.samples);
  out.set_handshakes(peer.handshakes);
  out.set_handshake_failures(peer.handshake_failures);
  if (counters == nullptr) return;
  out.set_tx_packets(counters->tx_packets());
  out.set_tx_bytes(counters->tx_bytes());
  out.set_rx_packets(counters->rx_packets());
  out.set_rx_bytes(counters->rx_bytes());
  out.set_path_mtu(counters->path_mtu());
  out.set_inner_mtu(counters->inner_mtu());
  out.set_path_mtu_state(PathMtuStateToProto(counters->path_mtu_state()));
}

void FillStatus(const Controller& controller, api::GetStatusResponse& out) {
  const Config& config = controller.config();
  out.set_name(config.name);
  out.set_node_id(controller.self().node_id().ToString());
  out.set_key(controller.self().ToString());
  for (const InterfaceAddress& address : config.addresses) out.add_addresses(address.ToString());
  const bool is_up = controller.node_state() == NodeState::kUp;
  out.set_state(is_up ? api::NODE_STATE_UP : api::NODE_STATE_DOWN);

  out.set_address_error(controller.AddressTrouble());
  FillRelay(controller, controller.dataplane_view().info, out);
  FillMesh(controller, *out.mutable_mesh());

  api::GetStatusResponse::Controller& own = *out.mutable_controller();
  own.set_version(kVersion);
  own.set_pid(static_cast<uint32_t>(getpid()));
  *own.mutable_uptime() = ToProto(controller.now() - controller.started());
  own.set_config_file(config.file);
  own.set_last_reload_error(controller.last_reload_error());
  own.set_peers(static_cast<uint32_t>(controller.peers().size()));
  own.set_peers_up(
      static_cast<uint32_t>(std::ranges::count_if(controller.peers(), [&](const auto& entry) {
        return controller.StateOf(*entry.second) == PeerState::kUp;
      })));

  api::GetStatusResponse::Dataplane& dataplane = *out.mutable_dataplane();
  const DataplaneView view = controller.dataplane_view();
  dataplane.set_connected(view.connected);
  dataplane.set_error(view.error);
  dataplane.set_socket(config.dataplane_socket);
  dataplane.set_generation(controller.generation());
  if (!view.connected) return;
  dataplane.set_version(view.info.version());
  dataplane.set_pid(view.info.pid());
  *dataplane.mutable_uptime() = ToProto(std::chrono::milliseconds(view.info.uptime_ms()) +
                                        (controller.now() - view.info_time));
  dataplane.set_tun_name(view.info.tun_name());
  dataplane.set_listen_port(view.info.listen_port());
  dataplane.set_workers(view.info.workers());
  dataplane.set_path(view.info.path());
  dataplane.set_path_reason(view.info.path_reason());
  FillCiphers(controller, view.info, dataplane);
  for (const dp::Feature& feature : view.info.features()) {
    FillFeature(feature, *dataplane.add_features());
  }
}

api::AddressSource SourceToProto(const Controller& controller) {
  if (!controller.config().auto_addresses) return api::ADDRESS_SOURCE_CONFIGURATION;
  return controller.address_source() == AddressSource::kAllocated ? api::ADDRESS_SOURCE_NUCLEUS
                                                                  : api::ADDRESS_SOURCE_RELEASED;
}

api::NucleusState ShownState(const Controller& controller, const NucleusView& view) {
  const bool is_up = controller.node_state() == NodeState::kUp;
  return is_up ? StateToProto(view.state) : api::NUCLEUS_STATE_DOWN;
}

void FillNucleus(const Controller& controller, api::GetNucleusResponse& out) {
  const auto view = controller.nucleus_view();
  if (!view) return;
  out.set_configured(true);
  for (const HostPort& address : controller.config().nucleus.addresses) {
    out.add_addresses(address.ToString());
  }
  out.set_state(ShownState(controller, *view));
  out.set_last_error(view->last_error);
  out.set_address_source(SourceToProto(controller));
  if (view->endpoint.is_set()) out.set_endpoint(view->endpoint.ToString());
  if (view->node_id) out.set_node_id(view->node_id->ToString());
  if (view->observed.is_set()) out.set_observed(view->observed.ToString());
  const Instant now = controller.now();
  if (view->since) *out.mutable_registered_for() = ToProto(now - *view->since);
  if (view->next_try && out.state() != api::NUCLEUS_STATE_DOWN) {
    *out.mutable_next_try_in() = ToProto(std::max<Duration>(*view->next_try - now, 0ns));
  }
  if (view->rtt) *out.mutable_rtt() = ToProto(*view->rtt);
  out.set_registrations(view->connections);
  out.set_connection_id(view->connection_id);
  out.set_nodes(view->nodes);
  out.set_refused_records(view->refused_records);
  if (view->revoked) FillRevocation(*view->revoked, *out.mutable_revoked());
  for (const auto& [id, learned] : controller.learned()) {
    for (const std::string& text : learned.problems) {
      auto& problem = *out.add_problems();
      problem.set_node_id(id.ToString());
      problem.set_name(learned.record.name);
      problem.set_problem(text);
    }
  }
}

void FillNetwork(const Controller& controller, api::CheckNetworkResponse& out) {
  const auto nucleus = controller.nucleus_view();
  if (nucleus) {
    out.set_nucleus_configured(true);
    out.set_nucleus_state(ShownState(controller, *nucleus));
    out.set_nucleus_error(nucleus->last_error);
    if (nucleus->rtt) *out.mutable_nucleus_rtt() = ToProto(*nucleus->rtt);
  }
  if (controller.mesh_view()) FillMesh(controller, *out.mutable_mesh());
  const NetworkView view = controller.network();
  const auto add = [&](const char* name, IpFamily family, const std::optional<Reflection>& seen) {
    auto& added = *out.add_families();
    added.set_family(name);
    for (const Endpoint& own : view.own) {
      if (own.address.family == family) added.add_local(own.address.ToString());
    }
    added.set_mapping(MappingToProto(seen ? seen->mapping : stun::Mapping::kUnknown));
    if (!seen) return;
    if (seen->mapped) added.set_mapped(seen->mapped->ToString());
    if (seen->rtt) *added.mutable_rtt() = ToProto(*seen->rtt);
    added.set_error(seen->error);
  };
  add("IPv4", IpFamily::kV4, view.v4);
  add("IPv6", IpFamily::kV6, view.v6);
  if (!view.port_mapping) return;
  auto& mapping = *out.mutable_port_mapping();
  mapping.set_error(view.port_mapping->error);
  if (!view.port_mapping->mapping) return;
  mapping.set_protocol(std::string(Name(view.port_mapping->mapping->protocol)));
  mapping.set_outer(view.port_mapping->mapping->outer.ToString());
}

void FillSession(const Peer& peer, const dp::SessionState& session, api::Session& out) {
  out.set_session_id(HexEncode(AsBytes(session.session_id())));
  out.set_peer(peer.spec.name);
  out.set_role(session.role() == dp::ROLE_INITIATOR ? "initiator" : "responder");
  out.set_slot(SlotName(session.slot()));
  const auto cipher = FromProto(session.cipher());
  out.set_cipher(cipher ? std::string(CipherName(*cipher)) : "unknown");
  *out.mutable_age() = ToProto(std::chrono::milliseconds(session.age_ms()));
  out.set_channels(static_cast<uint32_t>(session.receive_channel_ids_size()));
  out.set_tx_packets(session.tx_packets());
  out.set_rx_packets(session.rx_packets());
}

}  // namespace omni
