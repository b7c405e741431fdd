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
  out.set_origin(peer.origin == PeerOrigin::kApi ? api::PEER_ORIGIN_API : api::PEER_ORIGIN_CONFIG);
  for (const IpPrefix& prefix : peer.spec.allowed) out.add_allowed(prefix.ToString());
  if (peer.spec.endpoint.is_set()) out.set_configured_endpoint(peer.spec.endpoint.ToString());
  if (peer.endpoint.is_set()) out.set_endpoint(peer.endpoint.ToString());
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
    auto& added = *dataplane.add_features();
    added.set_name(feature.name());
    added.set_active(feature.active());
    added.set_reason(feature.reason());
    added.set_refusals(feature.refusals());
  }
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
