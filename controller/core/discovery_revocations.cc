// SPDX-License-Identifier: Apache-2.0
// Revocations on their way: whoever has a connection with us hears at once. Peers that have but a
// session get a connection for it, where the Nucleus does not tell them. And a node that is not
// registered asks, now and then, whether it has missed something.
#include <algorithm>

#include "controller/core/discovery.h"

namespace omni {
namespace {

// LIMIT: so long a Nucleus that seems to be there may take to tell of what a node has told us.
constexpr Duration kNucleusTells = 2s;
// LIMIT: after a session with a peer has begun: a node that has just started may be about to
// register.
constexpr Duration kCompareDelay = 2s;
// LIMIT: two TLS handshakes a second while there are peers that we have not compared with: a large
// node has a thousand, and a Nucleus that restarts must not make them all begin at once.
constexpr size_t kComparesAtOnce = 4;
// LIMIT: then one in half a minute.
constexpr Duration kCompareInterval = 30s;
// LIMIT: sessions of a large node.
constexpr size_t kMaxCompared = 4096;

}  // namespace

RevocationList::Outcome Discovery::TakeRevocation(const signal::v1::SignedRevocation& message,
                                                  Teller teller) {
  auto outcome = options_.revoked(message);
  if (outcome.verdict == RevocationList::Verdict::kNew) Spread(*outcome.entry, teller);
  return outcome;
}

// One that this node makes goes to its peers without waiting for anybody: the Nucleus may be gone
// and not yet missed. What the Nucleus tells, it tells everybody that it reaches.
void Discovery::Spread(const RevocationList::Entry& entry, Teller teller) {
  const Instant now = options_.clock();
  signaling_->Drop(entry.revocation.node, now);
  signaling_->Tell(entry, now);
  SaveSoon();
  if (teller != Teller::kNucleus) {
    client_->OnRevoked(entry.revocation.node, now);
    const bool waits = teller == Teller::kNode && IsRegistered();
    const Instant due = waits ? now + kNucleusTells : now;
    if (!spread_due_ || due < *spread_due_) spread_due_ = due;
  }
  ArmTimer();
}

// To peers that have but a session: a connection begins with a comparison.
void Discovery::SpreadDue() {
  spread_due_.reset();
  if (!online_) return;
  const bool is_told = std::ranges::all_of(options_.revocations->entries(), [&](const auto& entry) {
    return client_->HasToldRevocation(entry.first);
  });
  if (is_told) return;
  for (const auto& [peer, at] : options_.sessions()) {
    if (!signaling_->IsLinked(peer)) signaling_->Compare(peer, at, options_.clock());
  }
}

void Discovery::CompareSoon(const NodeId& peer) {
  if (IsRegistered() || compared_.contains(peer)) return;
  if (to_compare_.size() < kMaxCompared) to_compare_.insert(peer);
  const Instant due = options_.clock() + kCompareDelay;
  if (!compare_due_ || due < *compare_due_) compare_due_ = due;
  ArmTimer();
}

// With those whose sessions are new since we lost the Nucleus; when there are none, with one more
// in turn.
void Discovery::CompareDue() {
  compare_due_.reset();
  if (IsRegistered()) {
    to_compare_.clear();
    return compared_.clear();
  }
  const auto sessions = options_.sessions();
  if (sessions.empty()) return;  // the next one begins it anew
  const Instant now = options_.clock();
  compare_due_ = now + kCompareInterval;
  if (!online_) return;
  if (compared_.size() >= kMaxCompared) compared_.clear();
  size_t compared = 0;
  for (const auto& [peer, at] : sessions) {
    if (compared == kComparesAtOnce || to_compare_.erase(peer) == 0) continue;
    compared_.insert(peer);
    signaling_->Compare(peer, at, now);
    ++compared;
  }
  if (compared > 0) {
    if (!to_compare_.empty()) compare_due_ = now + kCompareDelay;
    return;
  }
  to_compare_.clear();  // they have no session any more
  const auto next = std::ranges::min_element(sessions, {}, [&](const auto& session) {
    return std::pair(session.first <= compared_last_, session.first);
  });
  compared_last_ = next->first;
  signaling_->Compare(next->first, next->second, now);
}

}  // namespace omni
