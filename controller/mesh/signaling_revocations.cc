// SPDX-License-Identifier: Apache-2.0
// Revocations between nodes. What is new goes at once to those with whom there is a connection; who
// connects later compares hashes, and is shown all where they differ. Who told something first does
// not matter: each node checks it, and passes it on when it is news to it, and only then.
#include <algorithm>
#include <utility>

#include "common/encoding.h"
#include "controller/mesh/signaling.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using quic::ConnectionId;

// LIMIT: secrets that a node holds, and so those that it may name.
constexpr int kMaxHeld = 2;
// LIMIT: proto/omni/signal/v1/mesh.proto: a full list is some 600 KiB.
constexpr double kShowBurst = 3;
constexpr double kShowsPerSecond = 0.1;

}  // namespace

bool PeerSignaling::IsLinked(const NodeId& peer) const {
  const auto id = LinkTo(peer);
  return id && links_.at(*id).member;
}

void PeerSignaling::Tell(const RevocationList::Entry& entry, Instant now) {
  now_ = now;
  fresh_.push_back({.key = {entry.revocation.node, entry.revocation.cluster}, .from = teller_});
  if (!look_ || now < *look_) look_ = now;
}

// What came together goes together. More than one message holds is left to a comparison: it may be
// a whole list, and the other side may have it from the same source.
void PeerSignaling::TellFresh() {
  const std::vector<Fresh> fresh = std::exchange(fresh_, {});
  if (fresh.empty() || options_.revocations == nullptr) return;
  std::set<NodeId> peers;
  for (const auto& [id, link] : links_) {
    if (link.member && !link.holds.empty()) peers.insert(link.peer);
  }
  for (const NodeId& peer : peers) {
    const auto id = LinkTo(peer);
    if (!id || !links_.at(*id).member) continue;
    if (fresh.size() > kMaxRevocationsInMessage) {
      SendCompare(*id, /*is_answer=*/false);
      continue;
    }
    pb::PeerMessage message;
    for (const Fresh& one : fresh) {
      const auto entry = options_.revocations->entries().find(one.key);
      if (entry == options_.revocations->entries().end() || one.from == peer) continue;
      if (!links_.at(*id).holds.contains(one.key.second)) continue;
      *message.mutable_revocations()->add_revocations() = entry->second.message;
    }
    if (message.revocations().revocations_size() > 0) Send(*id, message);
  }
}

void PeerSignaling::Compare(const NodeId& peer, const Endpoint& at, Instant now) {
  now_ = now;
  const auto id = LinkTo(peer);
  if (id && links_.at(*id).member) return SendCompare(*id, /*is_answer=*/false);
  Exchange(peer, {.at = at, .due = now});  // a new connection begins with it
}

void PeerSignaling::SendCompare(ConnectionId id, bool is_answer) {
  if (options_.revocations == nullptr) return;
  pb::PeerMessage message;
  message.mutable_compare()->set_answer(is_answer);
  for (const ClusterId& cluster : options_.cluster->ids()) {
    pb::PeerCompare::Held& held = *message.mutable_compare()->add_held();
    held.set_cluster_id(cluster.ToBytes());
    held.set_digest(AsString(options_.revocations->DigestOf(cluster)));
  }
  Send(id, message);
}

void PeerSignaling::OnCompare(ConnectionId id, const NodeId& from, const pb::PeerCompare& compare) {
  if (compare.held_size() > kMaxHeld) {
    ++refused_;
    return;
  }
  if (options_.revocations == nullptr) return;
  Link& link = links_.at(id);
  link.holds.clear();
  std::set<ClusterId> differing;
  for (const ClusterId& cluster : options_.cluster->ids()) {
    for (const pb::PeerCompare::Held& held : compare.held()) {
      if (held.cluster_id() != cluster.ToBytes()) continue;
      link.holds.insert(cluster);
      if (held.digest() != AsString(options_.revocations->DigestOf(cluster))) {
        differing.insert(cluster);
      }
    }
  }
  if (!compare.answer()) SendCompare(id, /*is_answer=*/true);
  const auto still = links_.find(id);
  if (differing.empty() || still == links_.end() || still->second.show_from) return;
  if (!TakeToken(MannersOf(from).shown, kShowBurst, kShowsPerSecond)) {
    ++refused_;
    return;
  }
  still->second.shown = std::move(differing);
  still->second.show_from = RevocationList::Key();
  ShowMore(id);
}

// As many as the connection takes; the rest when there is room again.
void PeerSignaling::ShowMore(ConnectionId id) {
  const auto found = links_.find(id);
  if (found == links_.end() || !found->second.show_from) return;
  Link& link = found->second;
  const auto& entries = options_.revocations->entries();
  auto entry = entries.lower_bound(*link.show_from);
  while (entry != entries.end()) {
    pb::PeerMessage message;
    int count = 0;
    for (; entry != entries.end() && count < static_cast<int>(kMaxRevocationsInMessage); ++entry) {
      if (!link.shown.contains(entry->first.second)) continue;
      *message.mutable_revocations()->add_revocations() = entry->second.message;
      ++count;
    }
    if (count == 0) break;
    if (!host_->Send(id, message.SerializeAsString(), now_).ok() || !links_.contains(id)) return;
    link.used = now_;
    if (!link.unheard_since) link.unheard_since = now_;
    if (!look_ || now_ + 500ms < *look_) look_ = now_ + 500ms;
    if (entry != entries.end()) link.show_from = entry->first;
  }
  link.show_from.reset();
}

void PeerSignaling::OnWritable(ConnectionId id) {
  const auto found = links_.find(id);
  if (found == links_.end()) return;
  // It has acknowledged much of what we said.
  if (found->second.unheard_since) found->second.unheard_since = now_;
  ShowMore(id);
}

// Each may end connections, this one among them.
void PeerSignaling::OnRevocations(const NodeId& from, const pb::PeerRevocations& revocations) {
  if (static_cast<size_t>(revocations.revocations_size()) > kMaxRevocationsInMessage) {
    ++refused_;
    return;
  }
  teller_ = from;
  for (const pb::SignedRevocation& message : revocations.revocations()) {
    const auto verdict = options_.revoked(message);
    const bool is_sound =
        verdict == RevocationList::Verdict::kNew || verdict == RevocationList::Verdict::kKnown;
    if (!is_sound) ++refused_;
  }
  teller_.reset();
}

}  // namespace omni
