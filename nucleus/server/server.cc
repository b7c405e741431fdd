// SPDX-License-Identifier: Apache-2.0
#include "nucleus/server/server.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <utility>

#include "common/encoding.h"
#include "common/log.h"
#include "common/status.h"
#include "signal/record/allocation.h"
#include "signal/record/codes.h"
#include "signal/record/proof.h"

namespace omni {
namespace {

namespace pb = signal::v1;
using quic::ConnectionId;

// LIMIT: proto/omni/signal/v1.
constexpr Duration kRegisterWithin = 10s;
// LIMIT: of a node's message: a record, a proof and their frames.
constexpr size_t kMaxNodeMessage = 8192;
// LIMIT: retention counts in days.
constexpr Duration kForgetInterval = 60s;
// LIMIT: of all together: what a fleet that starts at once asks, and a reflector that is not worth
// its while: 20,000 answers are 7 Mbit/s.
constexpr double kStunBurst = 20'000;
constexpr double kStunPerSecond = 20'000;
constexpr uint8_t kLastOfStun = 3;  // docs/PROTOCOL.md section 2
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

NucleusServer::NucleusServer(Options options)
    : options_(std::move(options)), relay_(options_.relay) {
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
  uint32_t number = 0;
  for (const NucleusCluster& cluster : made->options_.clusters) {
    ASSIGN_OR_RETURN(auto registry,
                     Registry::Load(store, cluster.keys, made->options_.limits, cluster.pools));
    spdlog::info("cluster {} ({}): {} nodes", cluster.name, cluster.keys.front().id().ToString(),
                 registry->size());
    std::vector<ClusterId> ids;
    for (const ClusterKey& key : cluster.keys) ids.push_back(key.id());
    made->clusters_.push_back(std::make_unique<Cluster>(Cluster{.number = number++,
                                                                .name = cluster.name,
                                                                .keys = cluster.keys,
                                                                .ids = std::move(ids),
                                                                .registry = std::move(registry),
                                                                .members = {},
                                                                .buckets = {},
                                                                .push_at = std::nullopt,
                                                                .untold = {},
                                                                .round_begun = {},
                                                                .rest_until = {}}));
  }
  return made;
}

void NucleusServer::OnDatagram(std::span<const uint8_t> datagram, const quic::Route& from,
                               Instant now) {
  now_ = now;
  if (ended_ || datagram.empty()) return;
  if (datagram[0] == kSessionData) return OnSessionData(datagram, from);
  if (IsQuic(datagram[0])) return host_->OnDatagram(datagram, from, now);
  if (datagram[0] <= kLastOfStun) OnStun(datagram, from, stun::ServerPort::kFirst);
}

void NucleusServer::OnSecondPort(std::span<const uint8_t> datagram, const quic::Route& from,
                                 Instant now) {
  now_ = now;
  if (!ended_) OnStun(datagram, from, stun::ServerPort::kSecond);
}

void NucleusServer::OnStun(std::span<const uint8_t> datagram, const quic::Route& from,
                           stun::ServerPort arrived) {
  const auto answer =
      stun::AnswerRequest(datagram, from.remote, from.local, arrived, options_.ports);
  if (!answer || !options_.send_from || !stun_.Take(kStunBurst, kStunPerSecond, now_)) {
    ++counters_.stun_refused;
    return;
  }
  ++counters_.stun_answered;
  options_.send_from(answer->from, from, answer->bytes);
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
  ended_ = true;
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
  const Connection connection{
      .node = NodeId::FromIdentityKey(peer), .identity = peer, .since = now_};
  connections_.emplace(id, connection);
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
    if (member != cluster.members.end() && member->second == id) {
      cluster.members.erase(member);
      relay_.Close({cluster.number, connection.node});
    }
    spdlog::debug("node {}: gone: {}", connection.node.ToString(), closed.text);
  }
  Drop(id);
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
    NoteRemote(id, found->second);
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
  } else if (connection.stage == Stage::kMember && parsed.has_call()) {
    OnCall(connection, parsed.call());
  } else if (connection.stage == Stage::kMember && parsed.has_allocate()) {
    OnAllocate(id, connection, parsed.allocate());
  } else if (connection.stage == Stage::kMember && parsed.has_release()) {
    OnRelease(id, connection);
  } else if (connection.stage == Stage::kMember && parsed.has_open_relay()) {
    OnOpenRelay(id, connection, parsed.open_relay());
  } else if (connection.stage == Stage::kMember && parsed.has_send_handshake()) {
    OnSendHandshake(id, connection, parsed.send_handshake());
  } else if (connection.stage == Stage::kMember && parsed.has_revoke()) {
    OnRevoke(id, connection, parsed.revoke());
  } else if (connection.stage != Stage::kMember ||
             parsed.message_case() != pb::NodeMessage::MESSAGE_NOT_SET) {
    Break(id, "a message out of order");
  }
}

void NucleusServer::OnHello(ConnectionId id, Connection& connection, const pb::Hello& hello) {
  for (const auto& cluster : clusters_) {
    for (const ClusterKey& key : cluster->keys) {
      if (key.id().ToBytes() != hello.cluster_id()) continue;
      connection.cluster = cluster.get();
      connection.key = &key;
    }
  }
  if (connection.key == nullptr) {
    return Refuse(id, {.reason = pb::Refused::REASON_UNKNOWN_CLUSTER,
                       .detail = "this Nucleus does not serve the cluster"});
  }
  const auto exported = host_->Export(id, kExporterLabel);
  if (!exported.ok()) return Break(id, Message(exported.status()));
  connection.stage = Stage::kRegister;
  pb::NucleusMessage answer;
  answer.mutable_challenge()->set_proof(NucleusProof(*connection.key, *exported));
  Send(id, answer);
}

void NucleusServer::OnRegister(ConnectionId id, Connection& connection,
                               const pb::Register& message) {
  Cluster& cluster = *connection.cluster;
  const auto exported = host_->Export(id, kExporterLabel);
  if (!exported.ok()) return Break(id, Message(exported.status()));
  if (!IsMembershipProof(message.proof(), *connection.key, *exported, connection.node)) {
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
    Drop(old_id);
    host_->Close(old_id, kCloseReplaced, "a newer connection of this node took over", now_);
  }
  cluster.members.insert_or_assign(node, id);
  NoteRemote(id, connections_.at(id));
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

void NucleusServer::OnAllocate(ConnectionId id, Connection& connection,
                               const pb::Allocate& message) {
  const auto wanted = ReadWanted(message);
  if (!wanted.ok()) return Break(id, Message(wanted.status()));
  if (!TakeToken(*connection.cluster, connection.node)) return Refuse(id, TooFast());
  const auto given = connection.cluster->registry->Allocate(connection.node, *wanted);
  if (given.empty()) {
    return Refuse(id, {.reason = pb::Refused::REASON_NO_ADDRESS,
                       .detail = "the cluster has no pool of addresses, or nothing in it is free"});
  }
  pb::NucleusMessage answer;
  *answer.mutable_allocated() = AllocatedMessage(given);
  Send(id, answer);
}

void NucleusServer::OnRelease(ConnectionId id, Connection& connection) {
  if (!TakeToken(*connection.cluster, connection.node)) return Refuse(id, TooFast());
  connection.cluster->registry->Release(connection.node);
  pb::NucleusMessage answer;
  answer.mutable_allocated();
  Send(id, answer);
}

NucleusServer::Refusal NucleusServer::TooFast() {
  return {.reason = pb::Refused::REASON_TOO_FAST, .detail = "too many changes at once"};
}

bool NucleusServer::TakeToken(Cluster& cluster, const NodeId& node) {
  return cluster.buckets.try_emplace(node, Bucket{.filled = now_})
      .first->second.Take(kBurst, kPerSecond, now_);
}

bool NucleusServer::Bucket::Take(double burst, double per_second, Instant now) {
  const std::chrono::duration<double> elapsed = now - filled;
  tokens = std::min(burst, tokens + elapsed.count() * per_second);
  filled = now;
  if (tokens < 1) return false;
  tokens -= 1;
  return true;
}

std::optional<NucleusServer::Refusal> NucleusServer::TakeRecord(Connection& connection,
                                                                const pb::SignedRecord& message,
                                                                uint64_t& sequence) {
  Cluster& cluster = *connection.cluster;
  const auto record = Verify(message, cluster.ids);
  if (!record.ok()) {
    return Refusal{.reason = pb::Refused::REASON_BAD_RECORD,
                   .detail = std::string(Message(record.status()))};
  }
  if (record->key.identity_public() != connection.identity) {
    return Refusal{.reason = pb::Refused::REASON_BAD_RECORD, .detail = "it is another node's"};
  }
  if (!TakeToken(cluster, connection.node)) {
    return TooFast();
  }
  const auto outcome = cluster.registry->Put(*record, message, options_.wall());
  switch (outcome.verdict) {
    case Registry::Verdict::kTaken:
      ++counters_.records;
      PushSoon(cluster);
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
    case Registry::Verdict::kRevoked:
      cluster.buckets.erase(connection.node);
      return IsRevoked(connection);
  }
  sequence = record->sequence;
  return std::nullopt;
}

void NucleusServer::Refuse(ConnectionId id, const Refusal& refusal) {
  ++counters_.refused[pb::Refused::Reason_Name(refusal.reason)];
  const Connection& connection = connections_.at(id);
  spdlog::debug("node {}: refused: {}", connection.node.ToString(), refusal.detail);
  const bool ends =
      refusal.reason == pb::Refused::REASON_REVOKED ||
      (connection.stage != Stage::kMember && refusal.reason != pb::Refused::REASON_STALE_RECORD);
  pb::NucleusMessage answer;
  pb::Refused& refused = *answer.mutable_refused();
  refused.set_reason(refusal.reason);
  refused.set_detail(refusal.detail);
  if (refusal.newest != nullptr) *refused.mutable_newest() = *refusal.newest;
  if (refusal.revocation != nullptr) *refused.mutable_revocation() = *refusal.revocation;
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
  message.mutable_accepted()->set_relays(relay_.enabled());
  Send(id, message);
}

void NucleusServer::SendObserved(ConnectionId id, const Endpoint& remote) {
  if (connections_.find(id) == connections_.end()) return;
  pb::NucleusMessage message;
  message.mutable_observed()->set_address(AsString(remote.address.raw()));
  message.mutable_observed()->set_port(remote.port);
  Send(id, message);
}

void NucleusServer::Forget() {
  forget_at_ = now_ + kForgetInterval;
  const int64_t wall = options_.wall();
  relay_.DropExpired(now_);
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
