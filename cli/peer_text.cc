// SPDX-License-Identifier: Apache-2.0
#include "cli/peer_text.h"

namespace omni {

namespace api = control::v1;

std::string StateName(api::PeerState state) {
  switch (state) {
    case api::PEER_STATE_IDLE:
      return "idle";
    case api::PEER_STATE_CONNECTING:
      return "connecting";
    case api::PEER_STATE_UP:
      return "up";
    case api::PEER_STATE_UNREACHABLE:
      return "unreachable";
    case api::PEER_STATE_REVOKED:
      return "revoked";
    default:
      return "unknown";
  }
}

std::string PathTo(const api::Peer& peer) {
  if (peer.path() != api::PEER_PATH_RELAY) return peer.endpoint();
  if (peer.relay().empty()) return "relay via " + peer.endpoint();
  return "relay via " + peer.relay() + " (" + peer.endpoint() + ")";
}

std::string PeerLine(const api::Peer& peer) {
  std::string line = StateName(peer.state());
  if (!peer.path_kind().empty()) {
    // "relay via 192.0.2.1:51900" names the kind itself.
    line +=
        ", " + (peer.path() == api::PEER_PATH_RELAY ? "" : peer.path_kind() + " ") + PathTo(peer);
    if (!peer.path_reason().empty()) line += " (" + peer.path_reason() + ")";
  }
  if (!peer.last_error().empty()) line += ": " + peer.last_error();
  return line;
}

std::string WayOf(const api::PingResult& result) {
  if (result.path_kind().empty()) return "";
  return result.path_kind() + (IsDirect(result) ? " " : " via ") + result.endpoint();
}

bool IsDirect(const api::PingResult& result) {
  return result.has_rtt() && !result.path_kind().empty() && result.path_kind() != "relay";
}

}  // namespace omni
