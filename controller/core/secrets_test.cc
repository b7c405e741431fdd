// SPDX-License-Identifier: Apache-2.0
// A node whose cluster changes its secret: by reloads, as an administrator does it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/file.h"
#include "common/status.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

constexpr const char* kSecrets[] = {"correct horse battery staple", "correct horse battery staplf"};

ClusterKeyring Ring(int which) { return ClusterKeyring(*ClusterKeys::Derive(kSecrets[which])); }

// Nodes whose files are real.
class SecretsChange : public ::testing::Test {
 protected:
  static void Write(const TestNode& node, int present, int accepted) {
    const std::string dir = node.directory.path();
    const auto put = [&](const std::string& name, const std::string& text) {
      ASSERT_TRUE(WriteFileAtomically(dir + name, text, 0600, Overwrite::kYes).ok());
    };
    put("/present", kSecrets[present]);
    std::string text = "[node]\nname = \"" + node.config.name + "\"\ncluster_secret_file = \"" +
                       dir + "/present\"\nstate_dir = \"" + dir + "\"\naddresses = [\"" +
                       node.config.addresses[0].ToString() + "\"]\n";
    if (accepted >= 0) {
      put("/accepted", kSecrets[accepted]);
      text += "accepted_secret_file = \"" + dir + "/accepted\"\n";
    }
    for (const PeerConfig& peer : node.config.peers) {
      text += "[[peers]]\nname = \"" + peer.spec.name + "\"\nkey = \"" + peer.spec.key.ToString() +
              "\"\nendpoint = \"" + peer.spec.endpoint.ToString() + "\"\nallowed = [\"" +
              peer.spec.allowed[0].ToString() + "\"]\n";
    }
    put("/controller.toml", text);
  }
  void Reload(TestNode& node, int present, int accepted = -1) {
    Write(node, present, accepted);
    const auto result = node.controller->Reload();
    ASSERT_TRUE(result.ok()) << result.status();
    loop_.Drain();
  }
  void SetUp() override {
    a_.AddToConfig(b_.Spec());
    b_.AddToConfig(a_.Spec());
    for (TestNode* node : {&a_, &b_}) {
      node->cluster = &keys_;
      Write(*node, 0, -1);
      ASSERT_TRUE(node->StartController().ok());
      node->dataplane.Connect();
      ASSERT_TRUE(loop_.RunUntil([&] { return node->Connected(); }));
    }
    Connect();
  }
  void Connect() {
    const uint64_t before = a_.PeerNamed("b").handshakes;
    loop_.now += 10s;
    a_.controller->Initiate(b_.identity.node_id());
    ASSERT_TRUE(loop_.RunUntil([&] {
      return a_.PeerNamed("b").handshakes > before && b_.StateOf("a") == PeerState::kUp;
    }));
  }

  const ClusterKeys keys_ = *ClusterKeys::Derive(kSecrets[0]);
  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
};

TEST_F(SecretsChange, NoStepEndsASessionAndTheLastOneShutsTheFormerSecretOut) {
  const SessionId session = a_.PeerNamed("b").sessions.front().id;
  const auto has_it = [&](const TestNode& node, const std::string& peer) {
    return std::ranges::any_of(node.PeerNamed(peer).sessions,
                               [&](const LiveSession& s) { return s.id == session; });
  };
  Reload(a_, 0, 1);
  Reload(b_, 0, 1);
  Reload(a_, 1, 0);
  EXPECT_EQ(a_.controller->keyring()->present().key, Ring(1).present().key);
  Reload(b_, 1, 0);
  Reload(a_, 1);
  EXPECT_TRUE(has_it(a_, "b") && has_it(b_, "a"));
  Connect();
  EXPECT_EQ(a_.controller->ClusterOf(a_.PeerNamed("b")), Ring(1).present().key.id());
  // One that kept the former secret alone.
  Reload(b_, 0);
  loop_.now += 10s;
  b_.controller->Initiate(a_.identity.node_id());
  ASSERT_TRUE(loop_.RunUntil(
      [&] { return a_.controller->failures().count(noise::FailureReason::kAuthentication) > 0; }));
  EXPECT_EQ(a_.StateOf("b"), PeerState::kUp);
}

TEST_F(SecretsChange, AFileThatCannotBeReadChangesNothing) {
  Write(a_, 0, 1);
  ASSERT_TRUE(
      WriteFileAtomically(a_.directory.path() + "/accepted", "short", 0600, Overwrite::kYes).ok());
  const auto result = a_.controller->Reload();
  EXPECT_THAT(std::string(Message(result.status())), HasSubstr("node.accepted_secret_file"));
  EXPECT_EQ(a_.controller->keyring()->held().size(), 1U);
}

TEST_F(SecretsChange, ARevocationHoldsUnderBothAndIsVoidWhenBothAreGone) {
  Reload(a_, 0, 1);
  ASSERT_TRUE(a_.controller->Revoke("b", "sold").ok());
  EXPECT_EQ(a_.controller->revocations().size(), 2U);
  Reload(a_, 1);
  EXPECT_EQ(a_.controller->revocations().size(), 1U);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kRevoked);
  // Back and forth, without the second one: what was said under it is gone.
  Reload(a_, 0);
  EXPECT_EQ(a_.controller->revocations().size(), 0U);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kIdle);
  EXPECT_EQ(a_.PeerNamed("b").last_error, "");
  Connect();
}

}  // namespace
}  // namespace omni
