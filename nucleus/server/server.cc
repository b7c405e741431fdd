// SPDX-License-Identifier: Apache-2.0
#include "nucleus/server/server.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <utility>

#include "common/encoding.h"
#include "common/log.h"
#include "common/status.h"
#include "signal/record/codes.h"
#include "signal/record/proof.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using quic::ConnectionId;

// LIMIT: proto/omni/signal/v1.
constexpr Duration kRegisterWithin = 10s;
// LIMIT: for so long changes are collected: nobody notices it, and a fleet that starts at once
// costs each member a few messages and not one for each of the others.
constexpr Duration kCollect = 20ms;
// LIMIT: half of what one message may have; one record more fits in any case.
constexpr size_t kDeltaBytes = size_t{32} << 10U;
// LIMIT: of a node's message: a record, a proof and their frames.
constexpr size_t kMaxNodeMessage = 8192;
// LIMIT: retention counts in days.
constexpr Duration kForgetInterval = 60s;
constexpr double kBurst = 20;
constexpr double kPerSecond = 0.5;

// Keys that follow from the identity, so that they outlive the process: by them it recognises
// connections of its former life and can tell their ends so.
template <size_t N>
std::array<uint8_t, N> KeyFor(std::string_view use, const Identity& identity) {
  std::array<uint8_t, 32> hash{};
  crypto_generichash(hash.data(), hash.size(), AsBytes(use).data(), use.size(),
                     identity.identity_seed().data(), identity.identity_seed().size());
  std::array<uint8_t, N> key{};
  std::copy_n(hash.begin(), N, key.begin());
  return key;
}

}  // namespace

NucleusServer::NucleusServer(Options options) : options_(std::move(options)) {
  quic::HostOptions host;
  host.identity = options_.identity;
  host.protocol = kSignalProtocol;
  host.cid_key = KeyFor<16>("omninervous nucleus connection ids v1", *options_.identity);
  host.reset_key = KeyFor<32>("omninervous nucleus resets v1", *options_.identity);
  host.send = options_.send;
  host.max_message_bytes = kMaxNodeMessage;
  host.max_accepted = options_.max_connections;
  host.keepalive = 0ns;  // nodes keep their connections, and their NATs, awake
  host_ = std::make_unique<quic::Host>(std::move(host), *this);
}

absl::StatusOr<std::unique_ptr<NucleusServer>> NucleusServer::Make(Options options, Store& store) {
  std::unique_ptr<NucleusServer> made(new NucleusServer(std::move(options)));
  for (const NucleusCluster& cluster : made->options_.clusters) {
    ASSIGN_OR_RETURN(auto registry, Registry::Load(store, cluster.key.id(), made->options_.limits));
    spdlog::info("cluster {} ({}): {} nodes", cluster.name, cluster.key.id().ToString(),
                 registry->size());
    made->clusters_.push_back(std::make_unique<Cluster>(Cluster{.name = cluster.name,
                                                                .key = cluster.key,
                                                                .registry = std::move(registry),
                                                                .members = {},
                                                                .buckets = {},
                                                                .push_at = std::nullopt}));
  }
  return made;
}

void NucleusServer::OnDatagram(std::span<const uint8_t> datagram, const quic::Route& from,
                               Instant now) {
  now_ = now;
  if (!datagram.empty() && IsQuic(datagram[0])) host_->OnDatagram(datagram, from, now);
}

void NucleusServer::OnTimer(Instant now) {
  now_ = now;
  host_->OnTimer(now);
  for (const auto& cluster : clusters_) {
    if (cluster->push_at && *cluster->push_at <= now) Push(*cluster);
  }
  CloseSlow();
  if (!forget_at_ || *forget_at_ <= now) Forget();
}

std::optional<Instant> NucleusServer::NextDeadline() const {
  // Before the first round the clock is not known.
  Instant next = forget_at_.value_or(Instant());
  if (const auto host = host_->NextDeadline()) next = std::min(next, *host);
  for (const auto& cluster : clusters_) {
    if (cluster->push_at) next = std::min(next, *cluster->push_at);
  }
  if (!unregistered_.empty()) next = std::min(next, unregistered_.begin()->first);
  return next;
}

void NucleusServer::Shutdown(Instant now) {
  for (const auto& cluster : clusters_) {
    for (const auto& [node, id] : cluster->members) {
      cluster->registry->NoteSeen(node, options_.wall());
    }
  }
  host_->CloseAll(kCloseGoingAway, "the Nucleus ends", now);
}

std::vector<NucleusServer::ClusterView> NucleusServer::clusters() const {
  std::vector<ClusterView> views;
  for (const auto& cluster : clusters_) {
    views.push_back({.name = cluster->name,
                     .registry = cluster->registry.get(),
                     .connected = cluster->members.size()});
  }
  return views;
}

// --------------------------------------------------------------------------------------
// connections

void NucleusServer::OnConnected(ConnectionId id, const quic::PublicKey& peer) {
  Connection connection{.node = NodeId::FromIdentityKey(peer), .identity = peer, .since = now_};
  connections_.emplace(id, std::move(connection));
  unregistered_.insert({now_ + kRegisterWithin, id});
}

void NucleusServer::OnClosed(ConnectionId id, const quic::Closed& closed) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;  // a handshake that failed
  const Connection& connection = found->second;
  unregistered_.erase({connection.since + kRegisterWithin, id});
  if (connection.stage == Stage::kMember) {
    Cluster& cluster = *connection.cluster;
    cluster.registry->NoteSeen(connection.node, options_.wall());
    const auto member = cluster.members.find(connection.node);
    if (member != cluster.members.end() && member->second == id) cluster.members.erase(member);
    spdlog::debug("node {}: gone: {}", connection.node.ToString(), closed.text);
  }
  connections_.erase(found);
}

void NucleusServer::CloseSlow() {
  while (!unregistered_.empty() && unregistered_.begin()->first <= now_) {
    const ConnectionId id = unregistered_.begin()->second;
    unregistered_.erase(unregistered_.begin());
    connections_.erase(id);
    host_->Close(id, kCloseTooSlow, "did not register in time", now_);
  }
}

// Ends a connection that broke the rules.
void NucleusServer::Break(ConnectionId id, std::string_view why) {
  ++counters_.violations;
  spdlog::debug("node {}: broke the rules: {}", connections_.at(id).node.ToString(), why);
  host_->Close(id, kCloseViolation, why, now_);
  OnClosed(id, {.text = std::string(why)});
}

void NucleusServer::OnMoved(ConnectionId id, const Endpoint& remote) {
  const auto found = connections_.find(id);
  if (found != connections_.end() && found->second.stage == Stage::kMember) {
    SendObserved(id, remote);
  }
}

// -----------------------------------------------------------------------------------------
// messages

void NucleusServer::OnMessage(ConnectionId id, std::string_view message) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  pb::NodeMessage parsed;
  if (!parsed.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return Break(id, "no message");
  }
  if (connection.stage == Stage::kHello && parsed.has_hello()) {
    OnHello(id, connection, parsed.hello());
  } else if (connection.stage == Stage::kRegister && parsed.has_register_()) {
    OnRegister(id, connection, parsed.register_());
  } else if (connection.stage == Stage::kMember && parsed.has_update()) {
    OnUpdate(id, connection, parsed.update());
  } else if (connection.stage != Stage::kMember ||
             parsed.message_case() != pb::NodeMessage::MESSAGE_NOT_SET) {
    Break(id, "a message out of order");
  }
}

void NucleusServer::OnHello(ConnectionId id, Connection& connection, const pb::Hello& hello) {
  const auto found = std::ranges::find_if(clusters_, [&](const auto& cluster) {
    return cluster->key.id().ToBytes() == hello.cluster_id();
  });
  if (found == clusters_.end()) {
    return Refuse(id, {.reason = pb::Refused::REASON_UNKNOWN_CLUSTER,
                       .detail = "this Nucleus does not serve the cluster"});
  }
  const auto exported = host_->Export(id, kExporterLabel);
  if (!exported.ok()) return Break(id, Message(exported.status()));
  connection.cluster = found->get();
  connection.stage = Stage::kRegister;
  pb::NucleusMessage answer;
  answer.mutable_challenge()->set_proof(NucleusProof(connection.cluster->key, *exported));
  Send(id, answer);
}

void NucleusServer::OnRegister(ConnectionId id, Connection& connection,
                               const pb::Register& message) {
  Cluster& cluster = *connection.cluster;
  const auto exported = host_->Export(id, kExporterLabel);
  if (!exported.ok()) return Break(id, Message(exported.status()));
  if (!IsMembershipProof(message.proof(), cluster.key, *exported, connection.node)) {
    return Refuse(id, {.reason = pb::Refused::REASON_NOT_A_MEMBER,
                       .detail = "the proof of membership is wrong"});
  }
  uint64_t sequence = 0;
  if (const auto refusal = TakeRecord(connection, message.record(), sequence)) {
    return Refuse(id, *refusal);
  }
  const bool resumes = cluster.registry->CanResume(message.registry(), message.revision());
  connection.stage = Stage::kMember;
  connection.revision = resumes ? message.revision() : 0;
  connection.from_beginning = !resumes;
  unregistered_.erase({connection.since + kRegisterWithin, id});
  const NodeId node = connection.node;
  if (const auto older = cluster.members.find(node); older != cluster.members.end()) {
    const ConnectionId old_id = older->second;
    connections_.erase(old_id);
    host_->Close(old_id, kCloseReplaced, "a newer connection of this node took over", now_);
  }
  cluster.members.insert_or_assign(node, id);
  spdlog::debug("node {}: registered in {}, {}", node.ToString(), cluster.name,
                resumes ? "resumes" : "from the beginning");
  SendAccepted(id, sequence);
  SendObserved(id, host_->remote(id));
  PushTo(id);
}

void NucleusServer::OnUpdate(ConnectionId id, Connection& connection, const pb::Update& update) {
  uint64_t sequence = 0;
  if (const auto refusal = TakeRecord(connection, update.record(), sequence)) {
    return Refuse(id, *refusal);
  }
  SendAccepted(id, sequence);
}

bool NucleusServer::TakeToken(Cluster& cluster, const NodeId& node) {
  Bucket& bucket = cluster.buckets.try_emplace(node, Bucket{.filled = now_}).first->second;
  const std::chrono::duration<double> elapsed = now_ - bucket.filled;
  bucket.tokens = std::min(kBurst, bucket.tokens + elapsed.count() * kPerSecond);
  bucket.filled = now_;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

std::optional<NucleusServer::Refusal> NucleusServer::TakeRecord(Connection& connection,
                                                                const pb::SignedRecord& message,
                                                                uint64_t& sequence) {
  Cluster& cluster = *connection.cluster;
  const auto record = Verify(message, cluster.key.id());
  if (!record.ok()) {
    return Refusal{.reason = pb::Refused::REASON_BAD_RECORD,
                   .detail = std::string(Message(record.status()))};
  }
  if (record->key.identity_public() != connection.identity) {
    return Refusal{.reason = pb::Refused::REASON_BAD_RECORD, .detail = "it is another node's"};
  }
  if (!TakeToken(cluster, connection.node)) {
    return Refusal{.reason = pb::Refused::REASON_TOO_FAST, .detail = "too many changes at once"};
  }
  const auto outcome = cluster.registry->Put(*record, message, options_.wall());
  switch (outcome.verdict) {
    case Registry::Verdict::kTaken:
      ++counters_.records;
      if (!cluster.push_at) cluster.push_at = now_ + kCollect;
      break;
    case Registry::Verdict::kUnchanged:
      break;
    case Registry::Verdict::kStale:
      return Refusal{.reason = pb::Refused::REASON_STALE_RECORD,
                     .detail = outcome.detail,
                     .newest = outcome.newest};
    case Registry::Verdict::kAddressTaken:
      return Refusal{.reason = pb::Refused::REASON_ADDRESS_TAKEN, .detail = outcome.detail};
    case Registry::Verdict::kFull:
      cluster.buckets.erase(connection.node);  // memory is for nodes in the registry
      return Refusal{.reason = pb::Refused::REASON_CLUSTER_FULL, .detail = outcome.detail};
  }
  sequence = record->sequence;
  return std::nullopt;
}

void NucleusServer::Refuse(ConnectionId id, const Refusal& refusal) {
  ++counters_.refused[pb::Refused::Reason_Name(refusal.reason)];
  const Connection& connection = connections_.at(id);
  spdlog::debug("node {}: refused: {}", connection.node.ToString(), refusal.detail);
  const bool ends =
      connection.stage != Stage::kMember && refusal.reason != pb::Refused::REASON_STALE_RECORD;
  pb::NucleusMessage answer;
  pb::Refused& refused = *answer.mutable_refused();
  refused.set_reason(refusal.reason);
  refused.set_detail(refusal.detail);
  if (refusal.newest != nullptr) *refused.mutable_newest() = *refusal.newest;
  if (!Send(id, answer) || !ends) return;
  host_->Close(id, CloseCodeOf(refusal.reason), refusal.detail, now_);
  OnClosed(id, {.text = refusal.detail});
}

// ------------------------------------------------------------------------------------------
// sending

// False when the connection has ended by that.
bool NucleusServer::Send(ConnectionId id, const pb::NucleusMessage& message) {
  const absl::Status sent = host_->Send(id, message.SerializeAsString(), now_);
  if (connections_.find(id) == connections_.end()) return false;
  // Answers are small and few: who does not read them is not worth waiting for.
  if (!sent.ok()) {
    Break(id, Message(sent));
    return false;
  }
  return true;
}

void NucleusServer::SendAccepted(ConnectionId id, uint64_t sequence) {
  pb::NucleusMessage message;
  message.mutable_accepted()->set_sequence(sequence);
  Send(id, message);
}

void NucleusServer::SendObserved(ConnectionId id, const Endpoint& remote) {
  if (connections_.find(id) == connections_.end()) return;
  pb::NucleusMessage message;
  message.mutable_observed()->set_address(AsString(remote.address.raw()));
  message.mutable_observed()->set_port(remote.port);
  Send(id, message);
}

void NucleusServer::Push(Cluster& cluster) {
  cluster.push_at.reset();
  std::vector<ConnectionId> members;
  members.reserve(cluster.members.size());
  for (const auto& [node, id] : cluster.members) members.push_back(id);
  for (const ConnectionId id : members) PushTo(id);
}

// What the member does not have yet, as far as there is room for it.
void NucleusServer::PushTo(ConnectionId id) {
  auto found = connections_.find(id);
  while (found != connections_.end() && !found->second.blocked) {
    Connection& connection = found->second;
    const Registry& registry = *connection.cluster->registry;
    if (connection.revision >= registry.revision() && !connection.from_beginning) return;
    pb::NucleusMessage message;
    *message.mutable_delta() = registry.Next(connection.revision, connection.node, kDeltaBytes);
    message.mutable_delta()->set_from_beginning(connection.from_beginning);
    const uint64_t reached = message.delta().revision();
    const absl::Status sent = host_->Send(id, message.SerializeAsString(), now_);
    found = connections_.find(id);
    if (found == connections_.end()) return;
    if (!sent.ok()) {
      found->second.blocked = true;  // until OnWritable()
      return;
    }
    ++counters_.deltas;
    found->second.revision = reached;
    found->second.from_beginning = false;
  }
}

void NucleusServer::OnWritable(ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  found->second.blocked = false;
  if (found->second.stage == Stage::kMember) PushTo(id);
}

void NucleusServer::Forget() {
  forget_at_ = now_ + kForgetInterval;
  const int64_t wall = options_.wall();
  for (const auto& cluster : clusters_) {
    for (const auto& [node, id] : cluster->members) cluster->registry->NoteSeen(node, wall);
    const size_t forgotten = cluster->registry->ForgetSilent(
        wall, [&](const NodeId& node) { return cluster->members.contains(node); });
    counters_.forgotten += forgotten;
    if (forgotten > 0) {
      cluster->push_at = now_;
      spdlog::info("cluster {}: {} nodes were silent for too long and are forgotten", cluster->name,
                   forgotten);
    }
    absl::erase_if(cluster->buckets, [&](const auto& entry) {
      return now_ - entry.second.filled > std::chrono::seconds(60);
    });
  }
}

}  // namespace omni
