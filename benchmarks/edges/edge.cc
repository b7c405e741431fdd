// SPDX-License-Identifier: Apache-2.0
#include "benchmarks/edges/edge.h"

#include <utility>

#include "common/status.h"
#include "signal/record/proof.h"
#include "signal/record/record.h"

namespace omni {

namespace pb = signal::v1;

Edge::Edge(Identity identity, Options options)
    : identity_(std::move(identity)), options_(std::move(options)) {
  quic::HostOptions host;
  host.identity = &identity_;
  host.protocol = kSignalProtocol;
  host.send = [this](const quic::Route&, std::span<const uint8_t> datagram) {
    options_.send(datagram);
  };
  host_ = std::make_unique<quic::Host>(std::move(host), *this);
}

void Edge::Join(Instant now) {
  now_ = joined_ = now;
  const auto id = host_->Connect(options_.nucleus, std::nullopt, now);
  if (id.ok()) {
    connection_ = *id;
  } else {
    error_ = std::string(Message(id.status()));
  }
}

void Edge::OnDatagram(std::span<const uint8_t> datagram, Instant now) {
  now_ = now;
  host_->OnDatagram(datagram, {.remote = options_.nucleus, .local = {}}, now);
}

void Edge::OnTimer(Instant now) {
  now_ = now;
  host_->OnTimer(now);
}

void Edge::OnConnected(quic::ConnectionId id, const quic::PublicKey& /*peer*/) {
  pb::NodeMessage message;
  message.mutable_hello()->set_cluster_id(options_.cluster->key.id().ToBytes());
  (void)host_->Send(id, message.SerializeAsString(), now_);
}

void Edge::OnClosed(quic::ConnectionId /*id*/, const quic::Closed& closed) {
  connection_.reset();
  registered_.reset();
  error_ = closed.text;
}

void Edge::OnMessage(quic::ConnectionId /*id*/, std::string_view message) {
  if (registered_) return options_.told(message);
  pb::NucleusMessage parsed;
  if (!parsed.ParseFromArray(message.data(), static_cast<int>(message.size()))) return;
  if (parsed.has_challenge()) {
    Register();
  } else if (parsed.has_accepted()) {
    registered_ = now_;
  } else if (parsed.has_refused()) {
    error_ = parsed.refused().detail();
  }
}

void Edge::Register() {
  const auto exported = host_->Export(*connection_, kExporterLabel);
  if (!exported.ok()) {
    error_ = std::string(Message(exported.status()));
    return;
  }
  pb::NodeMessage message;
  pb::Register& out = *message.mutable_register_();
  out.set_proof(MembershipProof(*options_.cluster, *exported, identity_.node_id()));
  *out.mutable_record() = Record();
  (void)host_->Send(*connection_, message.SerializeAsString(), now_);
}

// As that of a node with an address of each family, behind a NAT.
pb::SignedRecord Edge::Record() {
  Endpoint v6{.address = options_.address, .port = 51900};
  v6.address.bytes[0] = 0x20;  // 2000::/3, to look like a machine's
  Endpoint mapped = options_.own;
  mapped.address.bytes[0] = 203;
  NodeRecord record{.cluster = options_.cluster->key.id(),
                    .key = identity_.public_key(),
                    .sequence = ++sequence_,
                    .name = options_.name,
                    .addresses = {options_.address},
                    .routes = {},
                    .candidates = {{CandidateKind::kHost, v6},
                                   {CandidateKind::kHost, options_.own},
                                   {CandidateKind::kServerReflexive, mapped}},
                    .capabilities = {}};
  return Sign(record, identity_);
}

void Edge::Rename(std::string name, Instant now) {
  now_ = now;
  options_.name = std::move(name);
  pb::NodeMessage message;
  *message.mutable_update()->mutable_record() = Record();
  (void)host_->Send(*connection_, message.SerializeAsString(), now_);
}

}  // namespace omni
