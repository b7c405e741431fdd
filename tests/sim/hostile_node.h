// SPDX-License-Identifier: Apache-2.0
// HostileNode: a member of a cluster (or not) that speaks QUIC to a Nucleus and says what it likes.
#pragma once

#include <string>

#include "signal/record/proof.h"
#include "tests/sim/nucleus_sim.h"

namespace omni {

// A node that does not keep to the rules: QUIC and messages, without a client's manners.
class HostileNode {
 public:
  HostileNode(TestNetwork& network, const NucleusNode& nucleus, const std::string& at)
      : host_(network, identity_, at, {.protocol = kSignalProtocol}), network_(network) {
    id_ = *host_.host().Connect(nucleus.endpoints.front(), std::nullopt, network.now());
    network_.RunUntil([&] { return host_.connected(id_) || closed(); });
  }
  void Send(const pb::NodeMessage& message) { SendRaw(message.SerializeAsString()); }
  // Within a second.
  void SendMany(const pb::NodeMessage& message, int count) {
    for (int i = 0; i < count; ++i) {
      (void)host_.host().Send(id_, message.SerializeAsString(), network_.now());
      network_.RunFor(2ms);
    }
    network_.RunFor(100ms);
  }
  void SendRaw(const std::string& message) {
    (void)host_.host().Send(id_, message, network_.now());
    network_.RunFor(1s);
  }
  void Hello(int cluster = 0) {
    pb::NodeMessage message;
    message.mutable_hello()->set_cluster_id(Cluster(cluster).key.id().ToBytes());
    Send(message);
  }
  ExportedKey Exported() { return *host_.host().Export(id_, kExporterLabel); }
  NodeRecord Record() const {
    return {.cluster = Cluster(0).key.id(),
            .key = identity_.get().public_key(),
            .sequence = ++sequence_,
            .name = "hostile",
            .addresses = {},
            .routes = {},
            .candidates = {},
            .capabilities = {}};
  }
  void Register(const std::string& proof, const pb::SignedRecord& record) {
    pb::NodeMessage message;
    message.mutable_register_()->set_proof(proof);
    *message.mutable_register_()->mutable_record() = record;
    Send(message);
  }
  void RegisterWell() {
    Hello();
    Register(MembershipProof(Cluster(0), Exported(), identity_.get().node_id()),
             Sign(Record(), identity_.get()));
  }
  bool closed() const { return host_.closed.contains(id_); }
  uint64_t code() const { return closed() ? host_.closed.at(id_).code : UINT64_MAX; }
  // The last refusal it got.
  pb::Refused::Reason refusal() const {
    pb::Refused::Reason reason = pb::Refused::REASON_UNSPECIFIED;
    for (const std::string& bytes : host_.messages) {
      pb::NucleusMessage message;
      if (message.ParseFromString(bytes) && message.has_refused()) {
        reason = message.refused().reason();
      }
    }
    return reason;
  }
  const Identity& identity() const { return identity_.get(); }
  size_t messages() const { return host_.messages.size(); }

 private:
  TestIdentity identity_;
  quic::TestHost host_;
  TestNetwork& network_;
  quic::ConnectionId id_{};
  mutable uint64_t sequence_ = 0;
};

}  // namespace omni
