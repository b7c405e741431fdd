// SPDX-License-Identifier: Apache-2.0
// Nodes that are no members any more: at the word of this node's administrator, or of any other
// member's, which the Nucleus and other nodes pass on. A peer that somebody configured stays in
// sight, and gets nothing.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include <boost/asio/post.hpp>

#include "common/log.h"
#include "common/status.h"
#include "controller/core/controller.h"

namespace omni {
namespace {

std::string Describe(const Revocation& revocation) {
  return revocation.reason.empty() ? "revoked: no reason was given"
                                   : "revoked: " + revocation.reason;
}

}  // namespace

absl::StatusOr<Revocation> Controller::NodeToRevoke(std::string_view text) const {
  Revocation out;
  const Peer* peer = peers_.Find(text);
  const auto id = peer != nullptr ? std::optional(peer->id()) : NodeId::Parse(text);
  const auto learned =
      id ? learned_.find(*id) : std::ranges::find_if(learned_, [&](const auto& entry) {
        return entry.second.record.name == text;
      });
  if (!id && learned == learned_.end()) {
    return absl::NotFoundError(
        fmt::format("node: nobody here is called \"{}\"; a node that is not known has to be named "
                    "by its id, 32 hex digits",
                    text));
  }
  out.node = id ? *id : learned->first;
  if (out.node == self_.node_id()) {
    return absl::InvalidArgumentError("node: is this node itself; say it on another one");
  }
  if (learned != learned_.end()) {
    out.name = learned->second.record.name;
  } else if (peer != nullptr) {
    out.name = peer->spec.name;
  }
  return out;
}

absl::StatusOr<const RevocationList::Entry*> Controller::Revoke(std::string_view node,
                                                                const std::string& reason) {
  if (!keyring_) {
    return absl::FailedPreconditionError("this controller was given no cluster secret");
  }
  if (const std::string cause = CheckReason(reason); !cause.empty()) {
    return absl::InvalidArgumentError("reason: " + cause);
  }
  ASSIGN_OR_RETURN(Revocation wanted, NodeToRevoke(node));
  wanted.time = static_cast<int64_t>(time(nullptr));
  wanted.reason = reason;
  // What was said of it before is said again, under a secret that came later.
  if (const auto* known = revocations_.Find(wanted.node)) wanted = known->revocation;
  std::vector<const RevocationList::Entry*> fresh;
  for (const ClusterKeys& keys : keyring_->held()) {
    wanted.cluster = keys.key.id();
    const auto outcome = revocations_.Take(Sign(wanted, keys));
    if (outcome.entry == nullptr) return absl::ResourceExhaustedError(outcome.detail);
    if (outcome.verdict == RevocationList::Verdict::kNew) fresh.push_back(outcome.entry);
  }
  const RevocationList::Entry* revoked = revocations_.Find(wanted.node);
  if (fresh.empty()) return revoked;
  const absl::Status written = revocations_.Save();
  Expel(revoked->revocation);
  for (const RevocationList::Entry* entry : fresh) {
    if (discovery_) discovery_->OnRevoked(*entry);
  }
  if (!written.ok()) {
    return Annotate(written, "revoked until this controller restarts, and not on disk");
  }
  return revoked;
}

RevocationList::Outcome Controller::OnRevocation(const signal::v1::SignedRevocation& message) {
  auto outcome = revocations_.Take(message);
  if (outcome.verdict == RevocationList::Verdict::kNew) {
    Expel(outcome.entry->revocation);
    SaveRevocationsSoon();
  }
  return outcome;
}

// Once for all that came together.
void Controller::SaveRevocationsSoon() {
  if (std::exchange(save_revocations_, true)) return;
  boost::asio::post(loop_, [this] {
    save_revocations_ = false;
    const absl::Status written = revocations_.Save();
    if (!written.ok()) {
      spdlog::error("{}; until others tell it again a restart forgets who is revoked",
                    Message(written));
    }
  });
}

void Controller::Expel(const Revocation& revocation) {
  const NodeId& id = revocation.node;
  spdlog::warn("node {} ({}): {}", id.ToString(),
               revocation.name.empty() ? "unnamed" : revocation.name, Describe(revocation));
  if (const auto learned = learned_.find(id); learned != learned_.end()) {
    handshakes_.engine().Refuse(learned->second.record.key.static_public());
    learned_.erase(learned);
    NoteWilling(id);
    troubled_.erase(id);
  }
  if (Peer* peer = peers_.Find(id)) {
    if (peer->origin == PeerOrigin::kNucleus) {
      DropPeer(*peer);
    } else {
      Disable(*peer, revocation);
    }
  }
  ReconcileTroubled();
  Push();
}

// All that DropPeer() does, but that the peer can still be seen.
void Controller::Disable(Peer& peer, const Revocation& revocation) {
  const NodeId id = peer.id();
  EndSessions(peer);
  handshakes_.engine().RemovePeer(id);
  handshakes_.engine().Refuse(peer.spec.key.static_public());
  paths_.Remove(id);
  sync_.MarkRemoved(id);
  untold_endpoints_.erase(id);
  call_when_applied_.erase(id);
  peer.revoked = true;
  peer.cipher.reset();
  peer.trouble = Trouble::kNone;
  peer.last_error = Describe(revocation);
  OnRelayPeer(id);
}

}  // namespace omni
