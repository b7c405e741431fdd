// SPDX-License-Identifier: Apache-2.0
// What the management API says of members, secrets and revocations.
#include <gtest/gtest.h>

#include "controller/api/views.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

namespace api = control::v1;

const ClusterKeys& SomeCluster() {
  static const ClusterKeys keys = *ClusterKeys::Derive("correct horse battery staple");
  return keys;
}

class ClusterViewsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    a_.AddToConfig(b_.Spec());
    b_.AddToConfig(a_.Spec());
    for (TestNode* node : {&a_, &b_}) {
      node->cluster = &SomeCluster();
      ASSERT_TRUE(node->StartController().ok());
      node->dataplane.Connect();
      ASSERT_TRUE(loop_.RunUntil([&] { return node->Connected(); }));
    }
  }
  api::GetClusterResponse Cluster() const {
    api::GetClusterResponse cluster;
    FillCluster(*a_.controller, cluster);
    return cluster;
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
};

TEST_F(ClusterViewsTest, WhoUsesWhichSecretIsKnownFromHandshakes) {
  const auto before = Cluster();
  EXPECT_EQ(before.cluster_id(), SomeCluster().key.id().ToString());
  EXPECT_EQ(before.accepted_cluster_id(), "");
  ASSERT_EQ(before.nodes_size(), 1);
  EXPECT_EQ(before.nodes(0).cluster_id(), "");
  EXPECT_EQ(before.not_present(), 1U);
  a_.controller->Initiate(b_.identity.node_id());
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kUp; }));
  const auto after = Cluster();
  EXPECT_EQ(after.nodes(0).cluster_id(), SomeCluster().key.id().ToString());
  EXPECT_TRUE(after.nodes(0).holds_present());
  EXPECT_EQ(after.not_present(), 0U);
}

TEST_F(ClusterViewsTest, ARecordSaysWhatElseANodeHolds) {
  NodeRecord record{.cluster = {},
                    .key = b_.identity.public_key(),
                    .sequence = 1,
                    .name = "b",
                    .addresses = {},
                    .routes = {},
                    .candidates = {},
                    .capabilities = {}};
  record.accepted = {SomeCluster().key.id()};
  a_.controller->OnRecord(record);
  const auto cluster = Cluster();
  ASSERT_EQ(cluster.nodes_size(), 1);
  EXPECT_EQ(cluster.nodes(0).cluster_id(), ClusterId().ToString());
  EXPECT_TRUE(cluster.nodes(0).holds_present());
  EXPECT_EQ(cluster.not_present(), 1U);
}

TEST_F(ClusterViewsTest, ARevokedNodeIsListedAndNoMember) {
  ASSERT_TRUE(a_.controller->Revoke("b", "stolen").ok());
  api::ListRevocationsResponse list;
  FillRevocations(*a_.controller, list);
  ASSERT_EQ(list.revocations_size(), 1);
  EXPECT_EQ(list.revocations(0).node_id(), b_.identity.node_id().ToString());
  EXPECT_EQ(list.revocations(0).name(), "b");
  EXPECT_EQ(list.revocations(0).reason(), "stolen");
  EXPECT_EQ(list.revocations(0).cluster_id(), SomeCluster().key.id().ToString());
  EXPECT_GT(list.revocations(0).time(), 1'700'000'000);
  EXPECT_EQ(Cluster().nodes_size(), 0);
  api::Peer peer;
  FillPeer(*a_.controller, a_.PeerNamed("b"), nullptr, peer);
  EXPECT_EQ(peer.state(), api::PEER_STATE_REVOKED);
  EXPECT_EQ(peer.last_error(), "revoked: stolen");
}

}  // namespace
}  // namespace omni
