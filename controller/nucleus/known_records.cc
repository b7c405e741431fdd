// SPDX-License-Identifier: Apache-2.0
#include "controller/nucleus/known_records.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: ten times what a Nucleus takes in a cluster by default; at some 600 bytes each.
constexpr size_t kMaxKnown = 100'000;

}  // namespace

bool KnownRecords::SetClusters(std::vector<ClusterId> clusters) {
  clusters_ = std::move(clusters);
  std::erase_if(told_, [&](const RevocationList::Key& key) {
    return std::ranges::find(clusters_, key.second) == clusters_.end();
  });
  if (!missed_) return false;
  registry_ = 0;
  revision_ = 0;
  return true;
}

void KnownRecords::Apply(const signal::v1::Delta& delta) {
  if (delta.from_beginning()) {
    listing_ = true;
    missed_ = false;
    listed_.clear();
    told_.clear();
  }
  for (const auto& message : delta.revocations()) {
    const auto key = hooks_.revoked(message);
    if (!key) continue;
    Drop(key->first);
    told_.insert(*key);
  }
  for (const auto& message : delta.records()) Take(message, Source::kNucleus, {});
  for (const std::string& bytes : delta.forgotten()) {
    if (const auto id = NodeId::FromBytes(bytes)) Unlist(*id);
  }
  registry_ = delta.registry();
  // In the middle of a full list nobody can go on.
  revision_ = listing_ && !delta.caught_up() ? 0 : delta.revision();
  if (!delta.caught_up() || !listing_) return;
  listing_ = false;
  std::vector<NodeId> missing;
  for (const auto& [id, known] : known_) {
    // What it never listed it does not take away.
    if (known.by_nucleus && !listed_.contains(id)) missing.push_back(id);
  }
  for (const NodeId& id : missing) Unlist(id);
  listed_.clear();
}

// Piece by piece, which protobuf defines to be the same as one message of all: that one would hold
// a copy of everything, in small blocks that malloc keeps.
std::string KnownRecords::Save(Instant now, int64_t wall_s) const {
  signal::v1::SavedRecords piece;
  piece.set_saved_at(wall_s);
  std::string saved = piece.SerializeAsString();
  for (const auto& [id, known] : known_) {
    piece.Clear();
    if (known.by_nucleus) {
      *piece.add_records() = known.message;
    } else {
      *piece.add_from_nodes() = known.message;
      const auto unseen = std::chrono::duration_cast<std::chrono::seconds>(now - known.seen);
      piece.add_unseen_s(static_cast<uint64_t>(std::max<int64_t>(unseen.count(), 0)));
    }
    piece.AppendToString(&saved);
  }
  return saved;
}

// While a process runs, time is that of a clock that nobody sets.
void KnownRecords::Restore(const signal::v1::SavedRecords& saved, Instant now, int64_t wall_s) {
  for (const auto& message : saved.records()) Take(message, Source::kNucleus, {});
  // Both are numbers from a file; the difference of two that are not negative does not overflow.
  const int64_t off = std::max<int64_t>(wall_s, 0) - std::max<int64_t>(saved.saved_at(), 0);
  const Duration between = std::chrono::seconds(
      std::clamp<int64_t>(saved.saved_at() > 0 ? off : 0, 0, kMostBetween / 1s));
  for (int i = 0; i < saved.from_nodes_size(); ++i) {
    const uint64_t unseen_s = i < saved.unseen_s_size() ? saved.unseen_s(i) : 0;
    const Duration unseen = std::chrono::seconds(
        std::min<uint64_t>(unseen_s, static_cast<uint64_t>(kForgetAfter / 1s)));
    Take(saved.from_nodes(i), Source::kNode, now - between - unseen);
  }
}

bool KnownRecords::Learn(const signal::v1::SignedRecord& message, Instant now) {
  return Take(message, Source::kNode, now);
}

void KnownRecords::Saw(const NodeId& id, Instant now) {
  if (const auto found = known_.find(id); found != known_.end()) found->second.seen = now;
}

size_t KnownRecords::ForgetUnseen(Instant now) {
  if (from_nodes_ == 0) return 0;
  std::vector<NodeId> old;
  for (const auto& [id, known] : known_) {
    if (!known.by_nucleus && now - known.seen > kForgetAfter) old.push_back(id);
  }
  for (const NodeId& id : old) Unlist(id);
  return from_nodes_;
}

const KnownRecords::Known* KnownRecords::Find(const NodeId& id) const {
  const auto found = known_.find(id);
  return found == known_.end() ? nullptr : &found->second;
}

void KnownRecords::Drop(const NodeId& id) {
  const auto found = known_.find(id);
  if (found == known_.end()) return;
  if (!found->second.by_nucleus) --from_nodes_;
  known_.erase(found);
}

bool KnownRecords::Take(const signal::v1::SignedRecord& message, Source source, Instant seen) {
  const auto record = Verify(message, clusters_);
  if (!record.ok()) {
    missed_ = true;
    if (refused_++ == 0) {
      spdlog::warn("a {} sent a record that is refused: {}",
                   source == Source::kNucleus ? "Nucleus" : "node", Message(record.status()));
    }
    return false;
  }
  if (record->id() == self_ || hooks_.is_revoked(record->id())) return false;
  const bool by_nucleus = source == Source::kNucleus;
  if (by_nucleus && listing_) listed_.insert(record->id());
  const auto [place, is_new] = known_.try_emplace(record->id());
  Known& known = place->second;
  const bool too_many = !by_nucleus && from_nodes_ >= max_from_nodes_;
  if (is_new && (known_.size() > kMaxKnown || too_many)) {
    ++refused_;
    known_.erase(place);
    return false;
  }
  if (is_new) ++from_nodes_;
  // Whoever shows it: the node has made it since then, or another node has seen it.
  if (is_new) known.seen = seen;
  if (record->sequence > known.sequence) known.seen = std::max(known.seen, seen);
  if (by_nucleus && !std::exchange(known.by_nucleus, true)) --from_nodes_;
  if (record->sequence <= known.sequence) return false;
  known.sequence = record->sequence;
  known.message = message;
  hooks_.changed(*record);
  return true;
}

void KnownRecords::Unlist(const NodeId& id) {
  const auto known = known_.extract(id);
  if (known.empty()) return;
  if (!known.mapped().by_nucleus) --from_nodes_;
  hooks_.unlisted(id);
}

}  // namespace omni
