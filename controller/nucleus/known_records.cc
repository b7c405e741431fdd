// SPDX-License-Identifier: Apache-2.0
#include "controller/nucleus/known_records.h"

#include <vector>

#include "common/log.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: ten times what a Nucleus takes in a cluster by default; at some 600 bytes each.
constexpr size_t kMaxKnown = 100'000;

}  // namespace

void KnownRecords::Apply(const signal::v1::Delta& delta) {
  if (delta.from_beginning()) {
    listing_ = true;
    listed_.clear();
  }
  for (const auto& message : delta.records()) Take(message);
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
    if (!listed_.contains(id)) missing.push_back(id);
  }
  for (const NodeId& id : missing) Unlist(id);
  listed_.clear();
}

signal::v1::Delta KnownRecords::Save() const {
  signal::v1::Delta delta;
  for (const auto& [id, known] : known_) *delta.add_records() = known.message;
  return delta;
}

void KnownRecords::Take(const signal::v1::SignedRecord& message) {
  const auto record = Verify(message, cluster_);
  if (!record.ok()) {
    if (refused_++ == 0) {
      spdlog::warn("nucleus: it sent a record that is refused: {}", Message(record.status()));
    }
    return;
  }
  if (record->id() == self_) return;
  if (listing_) listed_.insert(record->id());
  const auto [known, is_new] = known_.try_emplace(record->id());
  if (is_new && known_.size() > kMaxKnown) {
    ++refused_;
    known_.erase(known);
    return;
  }
  if (record->sequence <= known->second.sequence) return;
  known->second = {.sequence = record->sequence, .message = message};
  hooks_.changed(*record);
}

void KnownRecords::Unlist(const NodeId& id) {
  if (known_.erase(id) != 0) hooks_.unlisted(id);
}

}  // namespace omni
