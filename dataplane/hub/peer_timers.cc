// SPDX-License-Identifier: Apache-2.0
#include "dataplane/hub/peer_timers.h"

#include <algorithm>

namespace omni {
namespace {

// Whether the session is old enough that its use asks for a new one. The initiator is asked first;
// should it fail to act, either side is.
bool RekeyIsDue(const CurrentSession& session, const PeerTraffic& traffic) {
  if (session.messages_used_up) return true;
  const Instant first = session.created + session.timers.rekey_after;
  const Instant late = session.created + session.timers.rekey_on_receive;
  const bool initiator = session.role == SessionRole::kInitiator;
  return (initiator && traffic.last_tx >= first) ||
         std::max(traffic.last_tx, traffic.last_rx) >= late;
}

}  // namespace

TimerVerdict PeerTimers::Tick(const PeerTraffic& traffic, const CurrentSession* session,
                              Duration persistent_keepalive, Instant now) {
  TimerVerdict out;
  const bool persistent =
      persistent_keepalive > Duration::zero() && now - traffic.last_tx >= persistent_keepalive;
  const Duration unanswered = unanswered_.Update(traffic.last_data_rx, traffic.last_tx, now);
  const Duration unheard = unheard_.Update(traffic.last_data_tx, traffic.last_rx, now);
  if (session == nullptr) {
    // Traffic without a session asks for one by itself; a persistent keepalive is such traffic.
    if (persistent_keepalive > Duration::zero()) out.handshake = HandshakeReason::kNoSession;
    return out;
  }
  out.send_keepalive =
      persistent || (unanswered > Duration::zero() && unanswered >= session->timers.keepalive);
  if (RekeyIsDue(*session, traffic)) {
    out.handshake = HandshakeReason::kRekey;
  } else if (unheard > Duration::zero() && unheard >= session->timers.no_reply) {
    out.handshake = HandshakeReason::kNoReply;
  }
  return out;
}

}  // namespace omni
