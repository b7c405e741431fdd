// SPDX-License-Identifier: Apache-2.0
// A cluster that changes its secret, over its Nucleus. Secrets 0 (the former) and 2 (the next one).
#include "tests/sim/nucleus_sim.h"

namespace omni {
namespace {

class NucleusRotation : public NucleusSim {
 protected:
  static void Give(ClientNode& node, std::vector<int> secrets) {
    std::vector<std::string> texts;
    for (const int which : secrets) {
      texts.emplace_back(which == 0 ? "correct horse battery staple"
                                    : "correct horse battery staplg");
    }
    node.ring = *ClusterKeyring::Make(texts);
    node.revoked.SetKeys(node.ring.keys());
    if (node.client) node.client->OnSecrets(node.now());
  }
  bool AllKnowAll() {
    return network_.RunUntil([&] {
      return std::ranges::all_of(nodes_, [&](const auto& n) {
        return n->registered() && n->known.size() == nodes_.size() - 1;
      });
    });
  }
  void RestartNucleus(std::vector<int> secrets) {
    nucleus_.secrets_of_first = std::move(secrets);
    nucleus_.Kill();
    nucleus_.Start();
    network_.RunFor(100s);  // until all have noticed
  }
  const Registry& registry() const { return *nucleus_.server->clusters().at(0).registry; }
  std::vector<uint64_t> Connections() const {
    std::vector<uint64_t> all;
    for (const auto& node : nodes_) all.push_back(node->client->view().connections);
    return all;
  }
};

TEST_F(NucleusRotation, MembersOfEitherSecretAreOneClusterUntilTheFormerOneEnds) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ClientNode& late = AddStarted(3);
  ASSERT_TRUE(AllKnowAll());
  const auto lease = a.client->view().sequence;
  RestartNucleus({2, 0});
  EXPECT_EQ(registry().size(), 3U);  // what stood under the former key is taken over
  ASSERT_TRUE(AllKnowAll());
  const auto connections = Connections();
  for (ClientNode* node : {&a, &b}) Give(*node, {0, 2});
  network_.RunFor(2s);
  Give(a, {2, 0});
  network_.RunFor(2s);
  // Told without another connection, and to the one that knows nothing of the new secret, too.
  EXPECT_EQ(Connections(), connections);
  EXPECT_GT(a.client->view().sequence, lease);
  EXPECT_EQ(late.known.at("n1").cluster, Cluster(2).key.id());
  EXPECT_TRUE(late.known.at("n1").Holds(Cluster(0).key.id()));
  EXPECT_EQ(b.known.at("n1").cluster, Cluster(2).key.id());
  EXPECT_EQ(b.known.at("n3").cluster, Cluster(0).key.id());
  // Both find the Nucleus anew, each by its own secret.
  Give(b, {2, 0});
  RestartNucleus({2, 0});
  ASSERT_TRUE(AllKnowAll());
  // The end, which the late one sleeps through.
  Give(a, {2});
  Give(b, {2});
  network_.RunFor(2s);
  RestartNucleus({2});
  network_.RunFor(100s);
  EXPECT_TRUE(a.registered() && b.registered() && a.Knows("n2") && b.Knows("n1"));
  EXPECT_FALSE(late.registered());
  EXPECT_NE(late.client->view().last_error.find("does not serve this cluster"), std::string::npos);
  EXPECT_FALSE(a.Knows("n3") || b.Knows("n3"));  // readers are told that it is gone
  EXPECT_EQ(registry().size(), 2U);
  // And comes back when it has the secret.
  Give(late, {2});
  ASSERT_TRUE(AllKnowAll());
}

TEST_F(NucleusRotation, AWrongOrderOfStepsCostsNothing) {
  ClientNode& a = AddStarted(1);
  ClientNode& b = AddStarted(2);
  ASSERT_TRUE(AllKnowAll());
  Give(a, {0, 2});
  Give(b, {0, 2});
  network_.RunFor(2s);
  // Nobody has told the Nucleus of the next secret.
  Give(a, {2, 0});
  network_.RunFor(2s);
  EXPECT_TRUE(a.registered());
  RestartNucleus({0});
  ASSERT_TRUE(AllKnowAll());
  // And here nobody has told b that the former one ends.
  RestartNucleus({2});
  ASSERT_TRUE(AllKnowAll());
}

TEST_F(NucleusRotation, ARevocationReachesThoseOfBothSecretsAndOutlivesTheFormer) {
  ClientNode& a = AddStarted(1);
  ClientNode& late = AddStarted(2);
  ClientNode& out = AddStarted(3);
  RestartNucleus({2, 0});
  Give(a, {2, 0});
  Give(out, {2, 0});
  ASSERT_TRUE(AllKnowAll());
  // As the controller does it: under each secret.
  for (const ClusterKeys& keys : a.ring.held()) {
    a.revoked.Take(Sign(
        {.cluster = keys.key.id(), .node = out.id(), .time = 1, .name = "", .reason = ""}, keys));
  }
  a.client->OnRevoked(out.id(), network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return late.revoked.Find(out.id()) != nullptr; }));
  EXPECT_FALSE(out.registered());
  EXPECT_EQ(registry().revoked().size(), 2U);
  RestartNucleus({2});
  EXPECT_EQ(registry().revoked().size(), 1U);
  EXPECT_FALSE(out.registered());
  EXPECT_TRUE(out.client->view().revoked.has_value());
}

}  // namespace
}  // namespace omni
