// SPDX-License-Identifier: Apache-2.0
// Life without a Nucleus: who is told of our record, who is asked for those of others, and when.
// While a Nucleus has our record, nobody is told by us; what neighbours say of themselves is
// listened to in any case.
#include <sodium.h>

#include <algorithm>
#include <utility>

#include "controller/core/discovery.h"

namespace omni {
namespace {

// LIMIT: interfaces change in bursts.
constexpr Duration kPublishDelay = 200ms;
// LIMIT: how long a Nucleus may take to accept a change before peers hear of it from us: it may be
// gone without a word.
constexpr Duration kNucleusAnswers = 2s;
// LIMIT: likewise, for a controller that has just started: by then it is registered where there is
// a Nucleus.
constexpr Duration kFirstRegistration = 5s;
// LIMIT: of a neighbour whose record a Nucleus is about to tell.
constexpr Duration kNucleusTells = 3s;
// LIMIT: common peers that are asked to pass a call on; as often as Called is heeded.
constexpr size_t kMaxCommonPeers = 3;
constexpr Duration kCallPause = 1s;
constexpr size_t kMaxCalls = 1024;
// LIMIT: between looks for nodes that nobody has seen for too long.
constexpr Duration kForgetInterval = std::chrono::hours(24);
// LIMIT: peers of which we know that they were told; beyond it they are told once more.
constexpr size_t kMaxTold = 4096;

std::vector<Beacons::Options::Secret> BeaconSecrets(const ClusterKeyring& cluster) {
  std::vector<Beacons::Options::Secret> secrets;
  for (const ClusterKeys& held : cluster.held()) {
    secrets.push_back({.cluster = held.key.id(), .key = BeaconKeyOf(held.psk)});
  }
  return secrets;
}

}  // namespace

void Discovery::MakeMesh() {
  using Known = PeerSignaling::Options::Known;
  signaling_ = std::make_unique<PeerSignaling>(PeerSignaling::Options{
      .identity = options_.identity,
      .cluster = options_.cluster,
      .cid_key = cid_key_,
      .send = options_.send,
      .own = [this] { return OwnRecord(); },
      .find =
          [this](const NodeId& id) {
            const KnownRecords::Known* known = client_->Find(id);
            return known == nullptr ? Known() : Known{&known->message, known->sequence};
          },
      .take =
          [this](const signal::v1::SignedRecord& record) {
            client_->Learn(record, options_.clock());
            Publish();
          },
      .reach = options_.reach,
      .called = options_.called,
      .pass = options_.relaying.pass,
      .open = options_.relaying.open,
      .handshake = options_.relaying.handshake,
      .relay_closed = options_.relaying.relay_closed,
      .revoked =
          [this](const auto& message) { return TakeRevocation(message, Teller::kNode).verdict; },
      .revocations = options_.revocations,
      .secret_of = [this](const NodeId& id) { return SecretOf(id); },
      .is_revoked = options_.records.is_revoked});
  if (!wants_beacons_) return;
  beacons_ = std::make_unique<Beacons>(
      Beacons::Options{.identity = options_.identity,
                       .secrets = BeaconSecrets(*options_.cluster),
                       .send = options_.send_from,
                       .wall_nanos = WallNanos,
                       .random = [](uint32_t limit) { return randombytes_uniform(limit); },
                       .heard = [this](const Beacons::Neighbour& neighbour) { OnHeard(neighbour); },
                       .relocated = options_.relocated});
}

std::vector<Key32> Discovery::beacon_keys() const {
  std::vector<Key32> keys;
  if (!beacons_) return keys;
  for (auto& secret : BeaconSecrets(*options_.cluster)) keys.push_back(std::move(secret.key));
  return keys;
}

std::vector<KnockKey> Discovery::knock_keys() const {
  std::vector<KnockKey> keys;
  for (const ClusterKeys& held : options_.cluster->held()) {
    keys.push_back(KnockKeyOf(held.psk, options_.identity->node_id()));
  }
  return keys;
}

// What it says now goes before what its record said then.
std::optional<ClusterId> Discovery::SecretOf(const NodeId& id) const {
  if (beacons_) {
    if (const auto heard = beacons_->ClusterOf(id, options_.clock())) return heard;
  }
  return options_.secret_of(id);
}

PeerSignaling::Options::Known Discovery::OwnRecord() const {
  const signal::v1::SignedRecord* record = client_->OwnRecord();
  if (record == nullptr) return {};
  return {.message = record, .sequence = client_->sequence()};
}

// Our record may be another one than before.
void Discovery::Publish() {
  const auto own = OwnRecord();
  if (own.message == nullptr) return;
  if (beacons_) beacons_->SetSequence(own.sequence, options_.clock());
  if (client_->IsPublished()) nucleus_has_ = own.sequence;
  const bool is_first = looked_at_ == 0 && !nucleus_.addresses.empty();
  if (std::exchange(looked_at_, own.sequence) == own.sequence || publish_due_) return;
  const bool is_registered = IsRegistered();
  publish_due_ = options_.clock() + (is_first        ? kFirstRegistration
                                     : is_registered ? kNucleusAnswers
                                                     : kPublishDelay);
}

// What each process has counted is on disk within a day: the clock has little to add.
void Discovery::ForgetUnseen(Instant now) {
  forget_from_ = now + kForgetInterval;
  for (const auto& [peer, at] : options_.sessions()) client_->Saw(peer, now);
  if (client_->ForgetUnseen(now) > 0) SaveSoon();
}

void Discovery::OnSession(const NodeId& peer) {
  client_->Saw(peer, options_.clock());
  CompareSoon(peer);
  if (looked_at_ == 0 || looked_at_ == nucleus_has_ || publish_due_) return;
  publish_due_ = options_.clock() + kNucleusAnswers;
  ArmTimer();
}

// To those who have a session with us: to them it matters where we are. Others learn it from them,
// from beacons, or from the Nucleus when it is back.
void Discovery::PublishDue() {
  publish_due_.reset();
  const auto own = OwnRecord();
  if (own.message == nullptr || !online_) return;
  if (own.sequence == nucleus_has_) return;
  if (told_.size() >= kMaxTold) told_.clear();
  for (const auto& [peer, at] : options_.sessions()) {
    if (std::exchange(told_[peer], own.sequence) == own.sequence) continue;
    signaling_->Exchange(peer, {.at = at, .due = options_.clock()});
  }
}

void Discovery::OnHeard(const Beacons::Neighbour& neighbour) {
  if (options_.records.is_revoked(neighbour.id)) return;
  client_->Saw(neighbour.id, options_.clock());
  const KnownRecords::Known* known = client_->Find(neighbour.id);
  const uint64_t sequence = known == nullptr ? 0 : known->sequence;
  if (neighbour.sequence == 0 || neighbour.sequence == sequence) return;
  // Just started: a Nucleus may be about to take our record, and to tell of others.
  const bool registers = !nucleus_.addresses.empty() && nucleus_has_ == 0 && publish_due_;
  Duration wait{};
  if (registers) {
    wait = kNucleusTells;
  } else if (IsRegistered()) {
    if (neighbour.sequence < sequence) return;  // on its way before what the Nucleus has told
    wait = kNucleusTells;
  } else if (options_.identity->node_id() > neighbour.id) {
    wait = 1s;  // the other one begins, if it hears us
  }
  // A lower number: its clock or disk was set back, and it will hear so.
  signaling_->Exchange(neighbour.id,
                       {.at = neighbour.at,
                        .due = options_.clock() + wait,
                        .sequence = neighbour.sequence > sequence ? neighbour.sequence : 0});
}

void Discovery::Call(const NodeId& id) {
  const Instant now = options_.clock();
  client_->Call(id, now);
  if (!IsRegistered() && online_) {
    std::erase_if(called_last_, [&](const auto& last) { return last.second + kCallPause <= now; });
    if (called_last_.size() < kMaxCalls && called_last_.try_emplace(id, now).second) {
      size_t asked = 0;
      for (const auto& [peer, at] : options_.sessions()) {
        if (peer == id || asked == kMaxCommonPeers) continue;
        signaling_->Call(id, peer, now);
        ++asked;
      }
    }
  }
  ArmTimer();
}

MeshView Discovery::mesh() const {
  const Instant now = options_.clock();
  MeshView view{.beacons_wanted = beacons_ != nullptr,
                .record_sequence = client_->sequence(),
                .beacons = {},
                .neighbours = {},
                .signaling = signaling_->view(now)};
  if (!beacons_) return view;
  view.beacons = beacons_->view();
  view.neighbours = beacons_->neighbours(now);
  return view;
}

std::vector<Endpoint> Discovery::PlacesOf(const NodeId& id) const {
  return beacons_ ? beacons_->PlacesOf(id, options_.clock()) : std::vector<Endpoint>();
}

bool Discovery::IsToldByNodes(const NodeId& id) const {
  const KnownRecords::Known* known = client_->Find(id);
  return known != nullptr && !known->by_nucleus;
}

}  // namespace omni
