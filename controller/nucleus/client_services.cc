// SPDX-License-Identifier: Apache-2.0
// What a registered node gets from its Nucleus besides the records of others: addresses,
// revocations, a relay.
#include <fmt/format.h>

#include <utility>

#include "common/encoding.h"
#include "common/status.h"
#include "controller/nucleus/client.h"
#include "signal/record/allocation.h"

namespace omni {
namespace {

namespace pb = signal::v1;

constexpr Duration kAskAgain = 30s;
// LIMIT: as the longest of the others: only another cluster secret changes anything.
constexpr Duration kRevokedPause = 60s;
constexpr Duration kSecretPause = 100ms;

}  // namespace

// ------------------------------------------------------------------------------------
// addresses

// Once a connection, and again while there is no answer.
void NucleusClient::AskForAddresses() {
  if (state_ != NucleusState::kRegistered || asked_ == self_.source) return;
  asked_ = self_.source;
  ask_again_.reset();
  if (asked_ == AddressSource::kConfigured) return;
  ask_again_ = now_ + kAskAgain;
  pb::NodeMessage message;
  if (asked_ == AddressSource::kReleasing) {
    message.mutable_release();
  } else {
    pb::Allocate& allocate = *message.mutable_allocate();
    for (const IpAddress& address : self_.addresses) {
      allocate.add_wanted(std::string(AsString(address.raw())));
    }
  }
  Send(message);
}

void NucleusClient::OnAllocated(const pb::Allocated& allocated) {
  if (state_ != NucleusState::kRegistered || asked_ == AddressSource::kConfigured) return;
  const auto addresses = ReadAllocated(allocated);
  if (!addresses.ok()) {
    address_error_ = fmt::format("what it allocates is refused: {}", Message(addresses.status()));
    return;
  }
  ask_again_.reset();
  address_error_.clear();
  if (addresses->empty() != (asked_ == AddressSource::kReleasing)) return;
  if (const absl::Status taken = options_.allocated(*addresses); !taken.ok()) {
    address_error_ = fmt::format("what it allocates is refused: {}", Message(taken));
    ask_again_ = now_ + kAskAgain;
  }
}

// ------------------------------------------------------------------------------------
// secrets and revocations

const ClusterKeys& NucleusClient::HelloKeys() const {
  const auto& held = options_.cluster->held();
  return held[hello_ % held.size()];
}

// The connection stays where it can, and with it the relay: the record tells others, by whatever
// proof it came.
void NucleusClient::OnSecrets(Instant now) {
  now_ = now;
  const bool missed = records_.SetClusters(options_.cluster->ids());
  hello_ = 0;
  revoked_.reset();
  if (state_ == NucleusState::kRegistering || (state_ == NucleusState::kRegistered && missed)) {
    since_.reset();
    pause_ = kSecretPause;
    return GiveUp("the cluster secret has changed");
  }
  if (state_ == NucleusState::kWaiting) deadline_ = now;
  UpdateRecord();
  OfferRevocations();
}

void NucleusClient::OnRevoked(const NodeId& node, Instant now) {
  now_ = now;
  records_.Drop(node);
  OfferRevocations();
}

// What the Nucleus has not told us: it was away, or has lost it. Each once a connection; what finds
// no room goes when the Nucleus has told of what did.
void NucleusClient::OfferRevocations() {
  if (state_ != NucleusState::kRegistered || options_.revocations == nullptr) return;
  pb::NodeMessage message;
  std::vector<RevocationList::Key> keys;  // of what is in it
  const auto flush = [&] {
    if (keys.empty()) return true;
    const absl::Status sent = host_->Send(*chosen_, message.SerializeAsString(), now_);
    if (!sent.ok() || !chosen_) return false;
    offered_.insert(keys.begin(), keys.end());
    keys.clear();
    message.Clear();
    return true;
  };
  for (const auto& [key, entry] : options_.revocations->entries()) {
    if (records_.HasToldRevocation(key) || offered_.contains(key)) continue;
    *message.mutable_revoke()->add_revocations() = entry.message;
    keys.push_back(key);
    if (keys.size() == kMaxRevocationsInMessage && !flush()) return;
  }
  flush();
}

// Anybody who poses as our Nucleus can say so; only a member can show it.
void NucleusClient::OnRevokedRefusal(const pb::Refused& refused) {
  const auto shown = Verify(refused.revocation(), options_.cluster->keys());
  const bool is_ours = shown.ok() && shown->node == options_.identity->node_id();
  if (is_ours) revoked_ = *shown;
  since_.reset();  // it was no good one
  pause_ = kRevokedPause;
  GiveUp(
      is_ours
          ? fmt::format("this node is revoked: {}",
                        shown->reason.empty() ? "no reason was given" : shown->reason)
          : "it says that this node is revoked, and shows no statement of a member that says so");
}

// ------------------------------------------------------------------------------------------ relay

// Best effort, as the datagrams that it is about: where too much waits already a message is lost,
// and the handshake is tried again.

void NucleusClient::OpenRelay(const NodeId& peer, std::span<const uint64_t> channels,
                              uint32_t seconds, Instant now) {
  now_ = now;
  if (!relays_ || !chosen_ || channels.empty()) return;
  pb::NodeMessage message;
  pb::OpenRelay& out = *message.mutable_open_relay();
  out.set_peer(peer.ToBytes());
  out.mutable_channels()->Add(channels.begin(), channels.end());
  out.set_seconds(seconds);
  (void)host_->Send(*chosen_, message.SerializeAsString(), now_);
}

void NucleusClient::SendHandshake(const NodeId& peer, std::span<const uint8_t> datagram,
                                  Instant now) {
  now_ = now;
  if (!relays_ || !chosen_) return;
  pb::NodeMessage message;
  message.mutable_send_handshake()->set_peer(peer.ToBytes());
  message.mutable_send_handshake()->set_datagram(std::string(AsString(datagram)));
  (void)host_->Send(*chosen_, message.SerializeAsString(), now_);
}

void NucleusClient::OnHandshake(const pb::Handshake& handshake) {
  const auto peer = NodeId::FromBytes(handshake.peer());
  if (relays_ && peer) options_.handshake(*peer, AsBytes(handshake.datagram()));
}

}  // namespace omni
