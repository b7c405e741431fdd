// SPDX-License-Identifier: Apache-2.0
// The node's own record: what is in it, when it is made anew, who shows us a newer one.
#include <algorithm>
#include <utility>

#include "controller/nucleus/client.h"

namespace omni {
namespace {

namespace pb = signal::v1;

// LIMIT: most updates follow a change of the network. Where the change took the way to the Nucleus
// (a family of addresses, say), the answer that does not come shows it before QUIC's timeouts do.
constexpr Duration kAnswerWithin = 2s;

}  // namespace

// Signs what others should know now, under a number that was never used before.
void NucleusClient::MakeRecord() {
  sequence_ = std::max(sequence_ + 1, options_.wall_nanos());
  const std::vector<ClusterId> clusters = options_.cluster->ids();
  NodeRecord record{.cluster = clusters.front(),
                    .accepted = {clusters.begin() + 1, clusters.end()},
                    .key = options_.identity->public_key(),
                    .sequence = sequence_,
                    .name = self_.name,
                    .addresses = self_.addresses,
                    .routes = self_.routes,
                    .candidates = Candidates(),
                    .capabilities = self_.capabilities};
  record_ = Sign(record, *options_.identity);
  recorded_ = self_;
  recorded_clusters_ = clusters;
  recorded_candidates_ = std::move(record.candidates);
}

// Host addresses, then where servers see us, or last saw us, when that is none of them.
std::vector<Candidate> NucleusClient::Candidates() const {
  // LIMIT: of each kind: one family's and the other's, by STUN and by QUIC.
  constexpr size_t kMaxReflexive = 3;
  std::vector<Candidate> reflexive;
  const auto add = [&](const Endpoint& seen) {
    const Candidate candidate{CandidateKind::kServerReflexive, seen};
    const bool is_host = std::ranges::find(self_.hosts, seen) != self_.hosts.end();
    const bool is_known = std::ranges::find(reflexive, candidate) != reflexive.end();
    if (!is_host && !is_known && seen.is_set() && IsCandidateAddress(seen.address) &&
        reflexive.size() < kMaxReflexive) {
      reflexive.push_back(candidate);
    }
  };
  for (const Endpoint& seen : self_.reflexive) add(seen);
  add(observed_);
  std::vector<Candidate> candidates;
  for (const Endpoint& host : self_.hosts) {
    if (candidates.size() + reflexive.size() == kMaxRecordCandidates) break;
    candidates.push_back({CandidateKind::kHost, host});
  }
  candidates.insert(candidates.end(), reflexive.begin(), reflexive.end());
  return candidates;
}

bool NucleusClient::IsRecordOld() const {
  return record_.record().empty() || recorded_ != self_ || recorded_candidates_ != Candidates() ||
         recorded_clusters_ != options_.cluster->ids();
}

void NucleusClient::UpdateRecord() {
  if (state_ != NucleusState::kRegistered) return;
  if (IsRecordOld()) MakeRecord();
  if (sent_ == sequence_) return;
  sent_ = sequence_;
  answer_by_ = now_ + std::max(kAnswerWithin, 4 * host_->rtt(*chosen_).value_or(0ns));
  pb::NodeMessage message;
  *message.mutable_update()->mutable_record() = record_;
  Send(message);
}

const pb::SignedRecord* NucleusClient::OwnRecord() {
  if (!has_self_) return nullptr;
  if (IsRecordOld()) MakeRecord();
  return &record_;
}

void NucleusClient::Learn(const pb::SignedRecord& message, Instant now) {
  now_ = now;
  const auto record = Verify(message, options_.cluster->ids());
  if (!record.ok() || record->id() != options_.identity->node_id()) {
    records_.Learn(message, now);
    return;
  }
  if (record->sequence < sequence_ || message.record() == record_.record()) return;
  sequence_ = record->sequence;
  if (has_self_) MakeRecord();
  UpdateRecord();
}

}  // namespace omni
