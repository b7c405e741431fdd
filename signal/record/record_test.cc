// SPDX-License-Identifier: Apache-2.0
#include "signal/record/record.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "common/encoding.h"
#include "common/identity/signature.h"
#include "signal/record/proof.h"

namespace omni {
namespace {

namespace pb = signal::v1;

Identity MakeIdentity() {
  static int number = 0;
  const auto path = std::filesystem::temp_directory_path() /
                    ("omni-record-" + std::to_string(getpid()) + "-" + std::to_string(number++));
  Identity identity = *Identity::Create(path);
  std::filesystem::remove_all(path);
  return identity;
}

const ClusterKeys& SomeCluster() {
  static const ClusterKeys keys = *ClusterKeys::Derive("correct horse battery staple");
  return keys;
}

class RecordTest : public ::testing::Test {
 protected:
  Identity identity_ = MakeIdentity();
  ClusterId cluster_ = SomeCluster().key.id();

  NodeRecord Record() const {
    return {
        .cluster = cluster_,
        .key = identity_.public_key(),
        .sequence = 5,
        .name = "robot-1",
        .addresses = {*IpAddress::Parse("10.77.0.1"), *IpAddress::Parse("fd77::1")},
        .routes = {*IpPrefix::Parse("192.168.7.0/24")},
        .candidates = {{CandidateKind::kHost, *Endpoint::Parse("192.0.2.1:51900")},
                       {CandidateKind::kServerReflexive, *Endpoint::Parse("[2001:db8::1]:51900")}},
        .capabilities = {"aes-256-gcm"}};
  }
  // Signed as it should be, whatever it says.
  absl::Status VerifyChanged(const std::function<void(pb::NodeRecord&)>& change) const {
    pb::NodeRecord content;
    content.ParseFromString(Sign(Record(), identity_).record());
    change(content);
    pb::SignedRecord message;
    message.set_record(content.SerializeAsString());
    message.set_signature(
        AsString(identity_.Sign("omninervous node record v1", AsBytes(message.record()))));
    return Verify(message, cluster_).status();
  }
};

TEST_F(RecordTest, ComesBackAsItWas) {
  const auto read = Verify(Sign(Record(), identity_), cluster_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->id(), identity_.node_id());
  EXPECT_EQ(read->sequence, 5U);
  EXPECT_EQ(read->name, "robot-1");
  EXPECT_EQ(read->addresses, Record().addresses);
  EXPECT_EQ(read->routes, Record().routes);
  EXPECT_EQ(read->candidates, Record().candidates);
  EXPECT_EQ(read->capabilities, Record().capabilities);
}

TEST_F(RecordTest, NoByteOfItCanBeChanged) {
  const pb::SignedRecord good = Sign(Record(), identity_);
  for (size_t i = 0; i < good.record().size(); ++i) {
    pb::SignedRecord bad = good;
    (*bad.mutable_record())[i] ^= 1;
    EXPECT_FALSE(Verify(bad, cluster_).ok()) << i;
  }
  for (size_t i = 0; i < good.signature().size(); ++i) {
    pb::SignedRecord bad = good;
    (*bad.mutable_signature())[i] ^= 1;
    EXPECT_FALSE(Verify(bad, cluster_).ok()) << i;
  }
}

TEST_F(RecordTest, AForeignIdentityCannotSignForIt) {
  const Identity other = MakeIdentity();
  pb::SignedRecord forged = Sign(Record(), identity_);
  forged.set_signature(
      AsString(other.Sign("omninervous node record v1", AsBytes(forged.record()))));
  EXPECT_FALSE(Verify(forged, cluster_).ok());
}

TEST_F(RecordTest, AnotherClustersRecordIsNotTaken) {
  const ClusterKeys other = *ClusterKeys::Derive("correct horse battery staplf");
  EXPECT_FALSE(Verify(Sign(Record(), identity_), other.key.id()).ok());
}

TEST_F(RecordTest, WhatIsSignedMustStillBeWellFormed) {
  EXPECT_TRUE(VerifyChanged([](pb::NodeRecord&) {}).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.set_sequence(0); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.set_name(""); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.set_name("Robot"); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.set_name(std::string(64, 'a')); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.add_addresses("abc"); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.add_addresses(std::string(4, '\0')); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.add_addresses(r.addresses(0)); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.add_addresses("\xe0\x01\x01\x01"); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.mutable_routes(0)->set_length(33); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.mutable_routes(0)->set_length(8); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { *r.add_routes() = r.routes(0); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.mutable_candidates(0)->set_port(0); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.mutable_candidates(0)->set_port(65536); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.add_capabilities("a b"); }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) {
                 for (int i = 0; i < 15; ++i) *r.add_candidates() = r.candidates(0);
               }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) {
                 for (uint8_t i = 0; i < 15; ++i)
                   r.add_addresses(std::string("\x0a\x00\x00") + static_cast<char>(i + 1));
               }).ok());
  EXPECT_FALSE(VerifyChanged([](auto& r) { r.set_name(std::string(5000, 'a')); }).ok());
}

TEST_F(RecordTest, CandidatesAreAddressesThatOthersCanSendTo) {
  for (const char* good : {"192.0.2.1", "10.0.0.1", "2001:db8::1", "fd00::1"}) {
    EXPECT_TRUE(IsCandidateAddress(*IpAddress::Parse(good))) << good;
  }
  for (const char* bad : {"0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255",
                          "::", "::1", "fe80::1", "ff02::1"}) {
    EXPECT_FALSE(IsCandidateAddress(*IpAddress::Parse(bad))) << bad;
  }
}

TEST(Proofs, AreWorthNothingOnAnotherConnectionOrForAnother) {
  const ClusterKeys& cluster = SomeCluster();
  const ClusterKeys other = *ClusterKeys::Derive("correct horse battery staplf");
  const NodeId node = MakeIdentity().node_id();
  const NodeId other_node = MakeIdentity().node_id();
  const ExportedKey here{1};
  const ExportedKey there{2};
  const std::string proof = MembershipProof(cluster, here, node);
  EXPECT_TRUE(IsMembershipProof(proof, cluster.key, here, node));
  EXPECT_FALSE(IsMembershipProof(proof, cluster.key, there, node));
  EXPECT_FALSE(IsMembershipProof(proof, cluster.key, here, other_node));
  EXPECT_FALSE(IsMembershipProof(proof, other.key, here, node));
  EXPECT_FALSE(IsMembershipProof(proof.substr(1), cluster.key, here, node));

  const std::string nucleus = NucleusProof(cluster.key, here);
  EXPECT_TRUE(IsNucleusProof(nucleus, cluster.key, here));
  EXPECT_FALSE(IsNucleusProof(nucleus, cluster.key, there));
  EXPECT_FALSE(IsNucleusProof(nucleus, other.key, here));
  EXPECT_FALSE(IsNucleusProof("", cluster.key, here));
}

}  // namespace
}  // namespace omni
