// SPDX-License-Identifier: Apache-2.0
#include "controller/nucleus/client.h"

#include <fmt/format.h>

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

// LIMIT: RFC 8305 section 5: so long the first address has for itself.
constexpr Duration kNextAddress = 250ms;
constexpr Duration kResolveWithin = 15s;
// LIMIT: a name has a handful of addresses; who answers for it may say any number.
constexpr size_t kMaxAddresses = 32;
// LIMIT: of them, that the error of a try names.
constexpr size_t kMaxNamed = 8;
constexpr Duration kRegisterWithin = 10s;
// LIMIT: pauses between tries: a fleet that lost its Nucleus comes back within a minute of it, and
// not in step.
constexpr Duration kFirstPause = 1s;
constexpr Duration kLongestPause = 60s;
// LIMIT: a registration that lasted so long was a good one: the next pause is short again.
constexpr Duration kGoodFor = 60s;
// LIMIT: interfaces change in bursts.
constexpr Duration kUpdateDelay = 100ms;
constexpr Duration kUpdateRetry = 30s;

std::string Describe(pb::Refused::Reason reason) {
  switch (reason) {
    case pb::Refused::REASON_UNKNOWN_CLUSTER:
      return "it does not serve this cluster: the cluster secret here is another one, or the "
             "Nucleus lacks the cluster's key";
    case pb::Refused::REASON_NOT_A_MEMBER:
      return "it refuses our proof of membership";
    case pb::Refused::REASON_BAD_RECORD:
      return "it refuses our record";
    case pb::Refused::REASON_STALE_RECORD:
      return "it holds a newer record of this node";
    case pb::Refused::REASON_ADDRESS_TAKEN:
      return "an address of this node belongs to another node";
    case pb::Refused::REASON_CLUSTER_FULL:
      return "it takes no more nodes";
    case pb::Refused::REASON_TOO_FAST:
      return "this node changes too often";
    case pb::Refused::REASON_NO_ADDRESS:
      return "it has no address for this node";
    case pb::Refused::REASON_REVOKED:
      return "this node is revoked: a member of the cluster has excluded it";
    case pb::Refused::REASON_BAD_REVOCATION:
    case pb::Refused::REASON_TOO_MANY_REVOKED:
      return "it does not take a revocation";
    default:
      return "it refuses us";
  }
}

std::string Describe(const quic::Closed& closed) {
  if (closed.cause != quic::CloseCause::kPeer) return closed.text;
  const auto refusal = RefusalOf(closed.code);
  if (!refusal) return fmt::format("it ended the connection: {}", closed.text);
  return fmt::format("{} ({})", Describe(*refusal), closed.text);
}

}  // namespace

NucleusClient::NucleusClient(Options options)
    : options_(std::move(options)),
      records_(options_.cluster->ids(), options_.identity->node_id(), options_.records),
      pause_(kFirstPause) {
  quic::HostOptions host;
  host.identity = options_.identity;
  host.protocol = kSignalProtocol;
  host.cid_key = options_.cid_key;
  host.send = [this](const quic::Route& to, std::span<const uint8_t> datagram) {
    options_.send(to.remote, datagram);
  };
  host_ = std::make_unique<quic::Host>(std::move(host), *this);
}

void NucleusClient::SetSelf(Self self, Instant now) {
  now_ = now;
  self_ = std::move(self);
  has_self_ = true;
  // The answer to an update may go to where the node was. The next one shows where it is: that is
  // no reason to wait for the answer, only for the end of the burst.
  if (answer_by_) {
    deadline_ = now_ + kUpdateDelay;
  } else {
    UpdateRecord();
  }
  AskForAddresses();
}

void NucleusClient::SetOnline(Instant now) {
  now_ = now;
  if (std::exchange(online_, true)) return;
  if (state_ == NucleusState::kWaiting) deadline_ = now;
}

void NucleusClient::SetOffline() { online_ = false; }

void NucleusClient::Suspend(Instant now) {
  now_ = now;
  online_ = false;
  if (state_ == NucleusState::kRegistered) {
    spdlog::info("nucleus {}: left; known peers stay", endpoint_.ToString());
  }
  host_->CloseAll(kCloseGoingAway, "the node goes down", now);
  Retreat("");
  pause_ = kFirstPause;
}

void NucleusClient::OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from,
                               Instant now) {
  now_ = now;
  host_->OnDatagram(datagram, {.remote = from, .local = {}}, now);
}

void NucleusClient::Shutdown(Instant now) {
  host_->CloseAll(kCloseGoingAway, "the node ends", now);
}

std::optional<Instant> NucleusClient::NextDeadline() const {
  std::optional<Instant> next = host_->NextDeadline();
  const bool counts = deadline_ && (online_ || state_ != NucleusState::kWaiting);
  if (counts && (!next || *deadline_ < *next)) next = deadline_;
  for (const auto& other : {ask_again_, answer_by_}) {
    if (other && (!next || *other < *next)) next = other;
  }
  return next;
}

void NucleusClient::OnTimer(Instant now) {
  now_ = now;
  host_->OnTimer(now);
  if (ask_again_ && *ask_again_ <= now) {
    asked_ = AddressSource::kConfigured;
    AskForAddresses();
  }
  if (answer_by_ && *answer_by_ <= now) {
    GiveUp("it does not answer our update");
    if (online_) deadline_ = now;
  }
  if (!deadline_ || *deadline_ > now) return;
  switch (state_) {
    case NucleusState::kWaiting:
      if (!online_) return;
      state_ = NucleusState::kResolving;
      deadline_ = now + kResolveWithin;
      options_.resolve();
      return;
    case NucleusState::kResolving:
      return GiveUp("its name is not resolved in time");
    case NucleusState::kConnecting:
      return TryNext();
    case NucleusState::kRegistering:
      return GiveUp("it does not answer our registration");
    case NucleusState::kRegistered:
      deadline_.reset();
      return UpdateRecord();
  }
}

// ---------------------------------------------------------------------------------------
// connecting

void NucleusClient::OnResolved(const absl::StatusOr<std::vector<Endpoint>>& addresses,
                               Instant now) {
  now_ = now;
  if (state_ != NucleusState::kResolving) return;
  if (!addresses.ok()) return GiveUp(std::string(Message(addresses.status())));
  if (addresses->empty()) return GiveUp("its name has no address");
  // IPv6 first, then by turns (RFC 8305 section 4).
  std::vector<Endpoint> sorted[2];
  for (const Endpoint& address : *addresses) {
    sorted[address.address.is_v4() ? 1 : 0].push_back(address);
  }
  addresses_.clear();
  failed_.clear();
  for (size_t i = 0; i < addresses->size(); ++i) {
    for (const auto& family : sorted) {
      if (i < family.size() && addresses_.size() < kMaxAddresses) addresses_.push_back(family[i]);
    }
  }
  state_ = NucleusState::kConnecting;
  TryNext();
}

// Begins with the next address while the ones before may still answer.
void NucleusClient::TryNext() {
  deadline_.reset();
  while (!addresses_.empty()) {
    const Endpoint to = addresses_.front();
    addresses_.erase(addresses_.begin());
    const auto id = host_->Connect(to, options_.nucleus, now_);
    if (!id.ok()) {
      NoteFailed(to, Message(id.status()));
      continue;
    }
    attempts_.emplace(*id, to);
    if (!addresses_.empty()) deadline_ = now_ + kNextAddress;
    return;
  }
  if (attempts_.empty()) GiveUp(AllFailed());
}

void NucleusClient::NoteFailed(const Endpoint& to, std::string_view why) {
  failed_.emplace_back(to, why);
  last_error_ = fmt::format("{}: {}", to.ToString(), why);
}

// "[2001:db8::1]:51900: no answer; 192.0.2.1:51900: no answer"
std::string NucleusClient::AllFailed() const {
  std::string text;
  for (size_t i = 0; i < std::min(failed_.size(), kMaxNamed); ++i) {
    text +=
        fmt::format("{}{}: {}", i == 0 ? "" : "; ", failed_[i].first.ToString(), failed_[i].second);
  }
  if (failed_.size() > kMaxNamed) text += fmt::format("; {} more", failed_.size() - kMaxNamed);
  return text;
}

void NucleusClient::OnConnected(ConnectionId id, const quic::PublicKey& peer) {
  const auto attempt = attempts_.find(id);
  if (state_ != NucleusState::kConnecting || attempt == attempts_.end()) {
    host_->Close(id, kCloseGoingAway, "another address answered first", now_);
    return;
  }
  endpoint_ = attempt->second;
  nucleus_id_ = NodeId::FromIdentityKey(peer);
  chosen_ = id;
  attempts_.erase(attempt);
  for (const auto& [other, to] : std::exchange(attempts_, {})) {
    host_->Close(other, kCloseGoingAway, "another address answered first", now_);
  }
  addresses_.clear();
  state_ = NucleusState::kRegistering;
  deadline_ = now_ + kRegisterWithin;
  pb::NodeMessage message;
  message.mutable_hello()->set_cluster_id(HelloKeys().key.id().ToBytes());
  Send(message);
}

void NucleusClient::OnClosed(ConnectionId id, const quic::Closed& closed) {
  if (chosen_ == id) {
    chosen_.reset();
    return GiveUp(Describe(closed));
  }
  const auto attempt = attempts_.extract(id);
  if (attempt.empty()) return;
  NoteFailed(attempt.mapped(), Describe(closed));
  if (state_ == NucleusState::kConnecting) TryNext();
}

// Until the next try.
void NucleusClient::GiveUp(std::string why) {
  if (state_ == NucleusState::kRegistered) {
    spdlog::warn("nucleus {}: lost: {}; known peers stay", endpoint_.ToString(), why);
  } else if (why != last_error_ || registrations_ == 0) {
    spdlog::debug("nucleus: not registered: {}", why);
  }
  Retreat(std::move(why));
}

void NucleusClient::Retreat(std::string why) {
  last_error_ = std::move(why);
  if (since_ && now_ - *since_ > kGoodFor) pause_ = kFirstPause;
  state_ = NucleusState::kWaiting;
  since_.reset();
  answer_by_.reset();
  asked_ = AddressSource::kConfigured;
  ask_again_.reset();
  offered_.clear();
  if (std::exchange(relays_, false)) options_.relay({});
  addresses_.clear();
  attempts_.clear();
  chosen_.reset();
  records_.OnReconnected();
  host_->CloseAll(kCloseGoingAway, "trying again", now_);
  const auto ms = static_cast<uint32_t>(pause_ / 1ms);
  deadline_ = now_ + (ms / 2 + options_.random(ms)) * Duration(1ms);
  pause_ = std::min(pause_ * 2, kLongestPause);
}

// --------------------------------------------------------------------------------------
// registering

void NucleusClient::Send(const pb::NodeMessage& message) {
  const absl::Status sent = host_->Send(*chosen_, message.SerializeAsString(), now_);
  if (!sent.ok() && chosen_) GiveUp(std::string(Message(sent)));
}

void NucleusClient::OnMessage(ConnectionId id, std::string_view message) {
  if (chosen_ != id) return;
  pb::NucleusMessage parsed;
  if (!parsed.ParseFromArray(message.data(), static_cast<int>(message.size()))) {
    return GiveUp("it sends what is no message");
  }
  switch (parsed.message_case()) {
    case pb::NucleusMessage::kChallenge:
      return OnChallenge(parsed.challenge());
    case pb::NucleusMessage::kAccepted:
      return OnAccepted(parsed.accepted());
    case pb::NucleusMessage::kRefused:
      return OnRefused(parsed.refused());
    case pb::NucleusMessage::kDelta:
      if (state_ != NucleusState::kRegistered) return;
      records_.Apply(parsed.delta());
      if (parsed.delta().caught_up()) OfferRevocations();
      return;
    case pb::NucleusMessage::kObserved:
      return OnObserved(parsed.observed());
    case pb::NucleusMessage::kCalled:
      if (const auto node = NodeId::FromBytes(parsed.called().node_id())) options_.called(*node);
      return;
    case pb::NucleusMessage::kAllocated:
      return OnAllocated(parsed.allocated());
    case pb::NucleusMessage::kHandshake:
      return OnHandshake(parsed.handshake());
    case pb::NucleusMessage::MESSAGE_NOT_SET:
      return;  // one that a newer Nucleus knows
  }
}

void NucleusClient::OnChallenge(const pb::Challenge& challenge) {
  if (state_ != NucleusState::kRegistering) return;
  const auto exported = host_->Export(*chosen_, kExporterLabel);
  if (!exported.ok() || !IsNucleusProof(challenge.proof(), HelloKeys().key, *exported)) {
    return GiveUp("it does not have the cluster's key: it is not our Nucleus");
  }
  Register();
}

void NucleusClient::Register() {
  if (!has_self_) return GiveUp("nothing to register yet");
  if (IsRecordOld()) MakeRecord();
  sent_ = sequence_;
  const auto exported = host_->Export(*chosen_, kExporterLabel);
  if (!exported.ok()) return GiveUp(std::string(Message(exported.status())));
  pb::NodeMessage message;
  pb::Register& out = *message.mutable_register_();
  out.set_proof(MembershipProof(HelloKeys(), *exported, options_.identity->node_id()));
  *out.mutable_record() = record_;
  out.set_registry(records_.registry());
  out.set_revision(records_.revision());
  Send(message);
}

void NucleusClient::OnAccepted(const pb::Accepted& accepted) {
  answer_by_.reset();
  if (state_ == NucleusState::kRegistering) {
    state_ = NucleusState::kRegistered;
    since_ = now_;
    ++registrations_;
    spdlog::info("nucleus {}: registered", endpoint_.ToString());
    relays_ = accepted.relays();
    if (relays_) options_.relay(endpoint_);
    revoked_.reset();
    revocation_error_.clear();
    // Otherwise it tells all that it has first.
    if (records_.registry() != 0) OfferRevocations();
  }
  if (state_ != NucleusState::kRegistered) return;
  last_error_.clear();
  deadline_ = now_ + kUpdateDelay;  // something may have changed meanwhile
  AskForAddresses();
}

void NucleusClient::OnRefused(const pb::Refused& refused) {
  if (refused.reason() == pb::Refused::REASON_STALE_RECORD) {
    // A number that we have signed ourselves: before our clock or disk was set back.
    const auto newest = Verify(refused.newest(), options_.cluster->ids());
    if (!newest.ok() || newest->id() != options_.identity->node_id() ||
        newest->sequence < sequence_) {
      return GiveUp("it calls our record old and cannot show a newer one");
    }
    sequence_ = newest->sequence;
    MakeRecord();
    if (state_ == NucleusState::kRegistering) return Register();
    answer_by_.reset();
    recorded_ = {};
    return UpdateRecord();
  }
  if (refused.reason() == pb::Refused::REASON_UNKNOWN_CLUSTER) ++hello_;  // another, if there is
  if (refused.reason() == pb::Refused::REASON_REVOKED) return OnRevokedRefusal(refused);
  const std::string why = fmt::format("{} ({})", Describe(refused.reason()), refused.detail());
  if (refused.reason() == pb::Refused::REASON_BAD_REVOCATION ||
      refused.reason() == pb::Refused::REASON_TOO_MANY_REVOKED) {
    revocation_error_ = why;
    spdlog::warn("nucleus {}: {}", endpoint_.ToString(), why);
    return;
  }
  if (refused.reason() == pb::Refused::REASON_NO_ADDRESS) {
    address_error_ = why;
    return;  // asked again by and by
  }
  if (refused.reason() == pb::Refused::REASON_ADDRESS_TAKEN &&
      self_.source == AddressSource::kAllocated && !self_.addresses.empty()) {
    // Given to another since, as by a Nucleus that lost its registry: without them there is a way
    // in, and new ones.
    (void)options_.allocated({});
    ask_again_ = now_ + kUpdateRetry;
  }
  if (state_ != NucleusState::kRegistered) return GiveUp(why);
  answer_by_.reset();
  recorded_ = {};  // it is not there
  last_error_ = why;
  deadline_ = now_ + kUpdateRetry;
}

void NucleusClient::OnObserved(const pb::Observed& observed) {
  const auto address = IpAddress::FromBytes(AsBytes(observed.address()));
  if (!address || observed.port() < 1 || observed.port() > 65535) return;
  observed_ = {.address = *address, .port = static_cast<uint16_t>(observed.port())};
  if (state_ == NucleusState::kRegistered) deadline_ = now_ + kUpdateDelay;
}

void NucleusClient::Call(const NodeId& node, Instant now) {
  now_ = now;
  if (state_ != NucleusState::kRegistered) return;
  pb::NodeMessage message;
  message.mutable_call()->set_node_id(node.ToBytes());
  Send(message);
}

NucleusView NucleusClient::view() const {
  NucleusView view{.state = state_,
                   .last_error = "",
                   .endpoint = endpoint_,
                   .node_id = nucleus_id_,
                   .observed = observed_,
                   .since = since_,
                   .next_try = std::nullopt,
                   .rtt = std::nullopt,
                   .connection_id = {},
                   .revision = records_.revision(),
                   .sequence = sequence_,
                   .nodes = records_.size(),
                   .refused_records = records_.refused(),
                   .connections = registrations_,
                   .revoked = revoked_};
  for (const std::string* error : {&revocation_error_, &address_error_, &last_error_}) {
    if (!error->empty()) view.last_error = *error;
  }
  if (state_ == NucleusState::kWaiting) view.next_try = deadline_;
  if (chosen_) {
    view.rtt = host_->rtt(*chosen_);
    view.connection_id = host_->original_cid(*chosen_);
  }
  return view;
}

}  // namespace omni
