// SPDX-License-Identifier: Apache-2.0
#include "controller/core/failure_log.h"

#include "common/log.h"

namespace omni {
namespace {

// LIMIT: a flood from strangers costs a log line a minute and reason; a peer one in ten seconds.
constexpr Duration kStrangerInterval = 60s;
constexpr Duration kPeerInterval = 10s;

}  // namespace

std::string LabelOf(noise::FailureReason reason) {
  using noise::FailureReason;
  switch (reason) {
    case FailureReason::kMalformed:
      return "malformed";
    case FailureReason::kMac1:
      return "mac1";
    case FailureReason::kUnknownPeer:
      return "unknown_peer";
    case FailureReason::kDecrypt:
      return "decrypt";
    case FailureReason::kAuthentication:
      return "authentication";
    case FailureReason::kReplay:
      return "replay";
    case FailureReason::kDuplicate:
      return "duplicate";
    case FailureReason::kTooFast:
      return "too_fast";
    case FailureReason::kUnexpected:
      return "unexpected";
    case FailureReason::kTimeout:
      return "timeout";
    case FailureReason::kRevoked:
      return "revoked";
  }
  return "unknown";
}

void FailureLog::CountStranger(const noise::Failure& failure, Instant now) {
  Reason& reason = Of(failure.reason);
  ++reason.count;
  if (reason.logged && now - *reason.logged < kStrangerInterval) return;
  spdlog::warn("handshake message from {}: {} ({} more of this kind since the last line)",
               failure.from.ToString(), noise::Describe(failure.reason),
               reason.count - reason.logged_count - 1);
  reason.logged = now;
  reason.logged_count = reason.count;
}

void FailureLog::NotePeerError(Peer& peer, const std::string& text, Instant now) {
  const bool changed = peer.last_error != text;
  peer.last_error = text;
  if (!changed) return;
  if (peer.last_error_logged && now - *peer.last_error_logged < kPeerInterval) return;
  peer.last_error_logged = now;
  spdlog::warn("peer {}: {}", peer.spec.name, text);
}

}  // namespace omni
