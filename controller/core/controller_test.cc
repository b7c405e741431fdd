// SPDX-License-Identifier: Apache-2.0
#include "controller/core/controller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "common/file.h"
#include "common/status.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;
using ::testing::HasSubstr;

class ControllerTest : public ::testing::Test {
 protected:
  // Two nodes that know each other and are connected to their dataplanes.
  void StartBoth() {
    a_.AddToConfig(b_.Spec());
    b_.AddToConfig(a_.Spec());
    for (TestNode* node : {&a_, &b_}) {
      ASSERT_TRUE(node->StartController().ok());
      node->dataplane.Connect();
    }
    ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected() && b_.Connected(); }));
  }
  void WantHandshake(TestNode& from, const TestNode& to) {
    dp::Event event;
    event.mutable_handshake_wanted()->set_peer_id(to.identity.node_id().ToBytes());
    event.mutable_handshake_wanted()->set_reason(dp::HandshakeWanted::REASON_NO_SESSION);
    from.dataplane.Emit(event);
  }
  void BringUp() {
    WantHandshake(a_, b_);
    ASSERT_TRUE(loop_.RunUntil(
        [&] { return a_.StateOf("b") == PeerState::kUp && b_.StateOf("a") == PeerState::kUp; }));
    loop_.Drain();
  }
  static std::ptrdiff_t IndexOf(const TestNode& node, const std::string& entry) {
    const auto& journal = node.dataplane.journal;
    return std::ranges::find(journal, entry) - journal.begin();
  }
  void WriteConfig(TestNode& node, const std::string& more) {
    const std::string text = "[node]\nname = \"" + node.config.name +
                             "\"\ncluster_secret_file = \"/unused\"\naddresses = [\"" +
                             node.config.addresses[0].ToString() + "\"]\nstate_dir = \"" +
                             node.directory.path() + "\"\n" + more;
    ASSERT_TRUE(WriteFileAtomically(node.config.file, text, 0600, Overwrite::kYes).ok());
  }
  static std::string PeerText(const TestNode& peer, const std::string& more) {
    return "[[peers]]\nname = \"" + peer.config.name + "\"\nkey = \"" +
           peer.identity.public_key().ToString() + "\"\nallowed = [\"" +
           peer.config.addresses[0].address.ToString() + "/32\"]\n" + more;
  }
  static std::string PskFile(const TestNode& node) {
    std::string file = node.directory.path() + "/psk";
    EXPECT_TRUE(WriteFileAtomically(file, std::string(64, 'b'), 0600, Overwrite::kNo).ok());
    return file;
  }
  void Reconnect(TestNode& node) {
    node.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([&] { return node.Connected(); }));
    loop_.Drain();
  }
  // `a_` calls `b_`; the dataplane of `node` has the session, but its controller does not know it
  // yet when the secret changes.
  void ChangeSecretDuringInstallation(TestNode& node, const TestNode& other) {
    node.dataplane.hold_install_answers = true;
    WantHandshake(a_, b_);
    ASSERT_TRUE(loop_.RunUntil([&] { return !node.dataplane.sessions.empty(); }));
    WriteConfig(node, PeerText(other, "psk_file = \"" + PskFile(node) + "\"\n"));
    ASSERT_TRUE(node.controller->Reload().ok());
    node.dataplane.AnswerInstalls();
    loop_.Drain();
    EXPECT_TRUE(node.dataplane.sessions.empty());
    EXPECT_TRUE(node.PeerNamed(other.config.name).sessions.empty());
    EXPECT_EQ(node.PeerNamed(other.config.name).last_error, "");
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
  TestNode c_{loop_, "c", 3};
};

TEST_F(ControllerTest, PushesTheFullStateToAFreshDataplane) {
  StartBoth();
  ASSERT_EQ(a_.dataplane.applied.size(), 1U);
  const dp::ApplyStateRequest& request = a_.dataplane.applied[0];
  EXPECT_EQ(request.generation(), 1U);
  ASSERT_EQ(request.full().peers_size(), 1);
  EXPECT_EQ(request.full().peers(0).peer_id(), b_.identity.node_id().ToBytes());
  EXPECT_EQ(request.full().peers(0).endpoint().port(), 51900U);
  EXPECT_EQ(request.full().node().mac1_key().size(), 32U);
  EXPECT_EQ(request.full().node().mtu(), 0U);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kIdle);
}

TEST_F(ControllerTest, InstallsASessionBeforeTheAnswerGoesOut) {
  StartBoth();
  BringUp();
  EXPECT_LT(IndexOf(b_, "install responder"), IndexOf(b_, "send 6"));
  ASSERT_EQ(a_.dataplane.sessions.size(), 1U);
  ASSERT_EQ(b_.dataplane.sessions.size(), 1U);
  const auto& limits = a_.dataplane.sessions.begin()->second.limits();
  EXPECT_EQ(limits.rekey_after_ms(), 120'000U);
  EXPECT_EQ(limits.reject_after_ms(), 180'000U);
  EXPECT_EQ(limits.rekey_on_receive_ms(), 165'000U);
  EXPECT_EQ(limits.keepalive_ms(), 10'000U);
  EXPECT_EQ(limits.no_reply_ms(), 15'000U);
  EXPECT_EQ(a_.PeerNamed("b").handshakes, 1U);
  EXPECT_EQ(b_.PeerNamed("a").handshakes, 1U);
  EXPECT_EQ(a_.PeerNamed("b").rtt, Duration(1'500'000));
}

TEST_F(ControllerTest, SendsNoAnswerForASessionThatTheDataplaneRefuses) {
  StartBoth();
  b_.dataplane.refuse_install = absl::ResourceExhaustedError("full");
  WantHandshake(a_, b_);
  ASSERT_TRUE(loop_.RunUntil([&] { return !b_.PeerNamed("a").last_error.empty(); }));
  loop_.Drain();
  EXPECT_THAT(b_.PeerNamed("a").last_error, HasSubstr("full"));
  EXPECT_THAT(b_.dataplane.journal, ::testing::Not(::testing::Contains("send 6")));
}

TEST_F(ControllerTest, AFreshControllerAdoptsARunningDataplane) {
  StartBoth();
  BringUp();
  const uint64_t generation = a_.dataplane.state.generation();
  a_.dataplane.journal.clear();
  ASSERT_TRUE(a_.StartController().ok());
  a_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
  loop_.Drain();
  EXPECT_EQ(a_.StateOf("b"), PeerState::kUp);
  EXPECT_EQ(a_.dataplane.sessions.size(), 1U);
  EXPECT_EQ(a_.dataplane.state.generation(), generation + 1);
  // Where a live session goes is fresher than the file.
  EXPECT_FALSE(a_.dataplane.applied.back().full().peers(0).has_endpoint());
  EXPECT_EQ(a_.dataplane.journal, std::vector<std::string>{"apply full"});
}

TEST_F(ControllerTest, AReconnectionToTheSameDataplaneKeepsSessions) {
  StartBoth();
  BringUp();
  a_.dataplane.Disconnect();
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.Connected(); }));
  a_.dataplane.journal.clear();
  a_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
  loop_.Drain();
  EXPECT_EQ(a_.dataplane.journal, std::vector<std::string>{"apply full"});
  EXPECT_EQ(a_.StateOf("b"), PeerState::kUp);
}

TEST_F(ControllerTest, ARestartedDataplaneGetsItsStateAndNewSessionsAtOnce) {
  StartBoth();
  BringUp();
  loop_.now += 10s;
  a_.dataplane.Restart();
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.Connected(); }));
  a_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.dataplane.sessions.size() == 1; }));
  ASSERT_TRUE(loop_.RunUntil([&] { return b_.PeerNamed("a").handshakes == 2; }));
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kUp; }));
  // The new dataplane is told where the peer was last.
  EXPECT_TRUE(a_.dataplane.applied.back().full().peers(0).has_endpoint());
}

TEST_F(ControllerTest, ShowsThatSecretsDiffer) {
  TestNode stranger(loop_, "stranger", 4, /*secret_fill=*/2);
  a_.AddToConfig(stranger.Spec());
  stranger.AddToConfig(a_.Spec());
  for (TestNode* node : {&a_, &stranger}) {
    ASSERT_TRUE(node->StartController().ok());
    node->dataplane.Connect();
  }
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected() && stranger.Connected(); }));
  WantHandshake(a_, stranger);
  ASSERT_TRUE(loop_.RunUntil([&] {
    return !a_.PeerNamed("stranger").last_error.empty() ||
           !stranger.PeerNamed("a").last_error.empty();
  }));
  const TestNode& who = a_.PeerNamed("stranger").last_error.empty() ? stranger : a_;
  const std::string whom = &who == &a_ ? "stranger" : "a";
  EXPECT_THAT(who.PeerNamed(whom).last_error, HasSubstr("authentication"));
  EXPECT_EQ(who.StateOf(whom), PeerState::kUnreachable);
  EXPECT_GE(who.PeerNamed(whom).handshake_failures, 1U);
  EXPECT_EQ(a_.PeerNamed("stranger").handshakes, 0U);
  EXPECT_EQ(stranger.PeerNamed("a").handshakes, 0U);
}

TEST_F(ControllerTest, APeerThatNeverAnswersIsUnreachableAndRecovers) {
  StartBoth();
  b_.dataplane.Disconnect();
  WantHandshake(a_, b_);
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kConnecting; }));
  ASSERT_TRUE(loop_.RunUntil([&] {
    loop_.now += 5s;
    return a_.StateOf("b") == PeerState::kUnreachable;
  }));
  EXPECT_THAT(a_.PeerNamed("b").last_error, HasSubstr("192.0.2.2:51900"));
  b_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return b_.Connected(); }));
  BringUp();
  EXPECT_EQ(a_.PeerNamed("b").last_error, "");
}

TEST_F(ControllerTest, FollowsTheEndOfSessions) {
  StartBoth();
  BringUp();
  a_.dataplane.EndSession(a_.dataplane.sessions.begin()->first, dp::SessionEnded::REASON_EXPIRED);
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("b") == PeerState::kIdle; }));
  EXPECT_TRUE(a_.PeerNamed("b").sessions.empty());
}

TEST_F(ControllerTest, NoticesTheEndOfASessionWhoseEventIsLost) {
  a_.session_check_interval = 10ms;
  StartBoth();
  BringUp();
  ASSERT_EQ(a_.controller->reserved_tags(), 1U);
  a_.dataplane.loses_events = true;
  a_.dataplane.EndSession(a_.dataplane.sessions.begin()->first, dp::SessionEnded::REASON_EXPIRED);
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.PeerNamed("b").sessions.empty(); }));
  EXPECT_EQ(a_.StateOf("b"), PeerState::kIdle);
  EXPECT_EQ(a_.controller->reserved_tags(), 0U);
}

TEST_F(ControllerTest, NoticesTheEndOfASessionThatOvertakesItsInstallation) {
  a_.session_check_interval = 10ms;
  StartBoth();
  a_.dataplane.hold_install_answers = true;
  WantHandshake(a_, b_);
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.dataplane.sessions.empty(); }));
  a_.dataplane.EndSession(a_.dataplane.sessions.begin()->first, dp::SessionEnded::REASON_REPLACED);
  loop_.Drain();
  a_.dataplane.AnswerInstalls();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.PeerNamed("b").handshakes == 1; }));
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.PeerNamed("b").sessions.empty(); }));
  EXPECT_EQ(a_.controller->reserved_tags(), 0U);
}

TEST_F(ControllerTest, ACallBegunDuringAnInstallationEndsWithIt) {
  StartBoth();
  a_.dataplane.hold_install_answers = true;
  WantHandshake(a_, b_);
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.dataplane.sessions.empty(); }));
  a_.controller->Initiate(b_.identity.node_id());
  EXPECT_EQ(a_.controller->reserved_tags(), 2U);
  a_.dataplane.AnswerInstalls();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.PeerNamed("b").handshakes == 1; }));
  EXPECT_EQ(a_.controller->reserved_tags(), 1U) << "that of the session";
}

// The answer to the check left the dataplane before the session came to it.
TEST_F(ControllerTest, ACheckOfSessionsSparesOneThatIsNewerThanItsAnswer) {
  a_.session_check_interval = 10ms;
  a_.AddToConfig(c_.Spec());
  c_.AddToConfig(a_.Spec());
  ASSERT_TRUE(c_.StartController().ok());
  c_.dataplane.Connect();
  StartBoth();
  BringUp();
  a_.dataplane.hold_states = true;
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.dataplane.held_states() == 1; }));
  WantHandshake(a_, c_);
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.StateOf("c") == PeerState::kUp; }));
  a_.dataplane.AnswerStates();
  loop_.Drain();
  EXPECT_EQ(a_.PeerNamed("b").sessions.size(), 1U);
  EXPECT_EQ(a_.PeerNamed("c").sessions.size(), 1U);
}

TEST_F(ControllerTest, FollowsAPeerThatMoves) {
  StartBoth();
  dp::Event event;
  event.mutable_endpoint_changed()->set_peer_id(b_.identity.node_id().ToBytes());
  *event.mutable_endpoint_changed()->mutable_endpoint() = c_.dataplane.address;
  a_.dataplane.Emit(event);
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.PeerNamed("b").endpoint == c_.endpoint; }));
}

TEST_F(ControllerTest, KeepsApiPeersAndRefusesConflicts) {
  StartBoth();
  ASSERT_TRUE(a_.controller->AddPeer(c_.Spec()).ok());
  EXPECT_TRUE(a_.controller->AddPeer(c_.Spec()).ok()) << "the very same peer again";
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.dataplane.applied.size() == 2; }));
  EXPECT_EQ(a_.dataplane.applied.back().delta().upsert_size(), 1);

  PeerSpec other = b_.Spec();
  EXPECT_EQ(a_.controller->AddPeer(other.Clone()).status().code(),
            absl::StatusCode::kAlreadyExists);
  TestNode d(loop_, "c", 5);
  EXPECT_THAT(Message(a_.controller->AddPeer(d.Spec()).status()), HasSubstr("name: "));
  d.config.name = "d";
  d.config.addresses = c_.config.addresses;
  EXPECT_THAT(Message(a_.controller->AddPeer(d.Spec()).status()), HasSubstr("allowed: "));
  EXPECT_THAT(Message(a_.controller->AddPeer(a_.Spec()).status()), HasSubstr("key: "));
  EXPECT_EQ(a_.controller->RemovePeer("b").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(a_.controller->RemovePeer("nobody").code(), absl::StatusCode::kNotFound);

  ASSERT_TRUE(a_.StartController().ok());
  EXPECT_EQ(a_.PeerNamed("c").origin, PeerOrigin::kApi);
  EXPECT_TRUE(a_.controller->RemovePeer(c_.identity.node_id().ToString()).ok());
  ASSERT_TRUE(a_.StartController().ok());
  EXPECT_EQ(a_.controller->peers().Find("c"), nullptr);
}

TEST_F(ControllerTest, RefusesABrokenPeersFileByName) {
  ASSERT_TRUE(
      WriteFileAtomically(a_.directory.path() + "/peers.json", "[{", 0600, Overwrite::kNo).ok());
  EXPECT_THAT(Message(a_.StartController()), HasSubstr("peers.json"));
}

TEST_F(ControllerTest, ReloadAppliesTheDifference) {
  StartBoth();
  BringUp();
  WriteConfig(a_, PeerText(b_, "endpoint = \"192.0.2.2:51900\"\nkeepalive = 5\n") +
                      PeerText(c_, "endpoint = \"192.0.2.3:51900\"\n"));
  auto result = a_.controller->Reload();
  ASSERT_TRUE(result.ok()) << Message(result.status());
  EXPECT_EQ(result->added, 1U);
  EXPECT_EQ(result->changed, 1U);
  EXPECT_EQ(result->removed, 0U);
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.dataplane.applied.size() == 2; }));
  const dp::StateDelta& delta = a_.dataplane.applied.back().delta();
  EXPECT_EQ(delta.upsert_size(), 2);
  EXPECT_EQ(a_.StateOf("b"), PeerState::kUp) << "a change of keepalive ends no session";

  WriteConfig(a_, PeerText(c_, "endpoint = \"192.0.2.3:51900\"\n"));
  result = a_.controller->Reload();
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->removed, 1U);
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.dataplane.applied.size() == 3; }));
  EXPECT_EQ(a_.dataplane.applied.back().delta().remove(0), b_.identity.node_id().ToBytes());
  EXPECT_TRUE(a_.dataplane.sessions.empty());
}

TEST_F(ControllerTest, AChangedPairSecretEndsTheOldSessions) {
  StartBoth();
  BringUp();
  WriteConfig(a_,
              PeerText(b_, "endpoint = \"192.0.2.2:51900\"\npsk_file = \"" + PskFile(a_) + "\"\n"));
  ASSERT_TRUE(a_.controller->Reload().ok());
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.dataplane.sessions.empty(); }));
  EXPECT_EQ(a_.StateOf("b"), PeerState::kIdle);
}

TEST_F(ControllerTest, AChangedPairSecretEndsASessionThatTheInitiatorInstalls) {
  StartBoth();
  ChangeSecretDuringInstallation(a_, b_);
}

TEST_F(ControllerTest, AChangedPairSecretEndsASessionThatTheResponderInstalls) {
  StartBoth();
  ChangeSecretDuringInstallation(b_, a_);
  EXPECT_THAT(b_.dataplane.journal, ::testing::Not(::testing::Contains("send 6")))
      << "an answer that the other side would take for a session";
}

TEST_F(ControllerTest, DoesNotAdoptASessionOfAPairSecretThatChangedWhileDisconnected) {
  StartBoth();
  BringUp();
  a_.dataplane.Disconnect();
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.Connected(); }));
  WriteConfig(a_, PeerText(b_, "psk_file = \"" + PskFile(a_) + "\"\n"));
  ASSERT_TRUE(a_.controller->Reload().ok());
  ASSERT_EQ(a_.dataplane.sessions.size(), 1U);
  Reconnect(a_);
  EXPECT_TRUE(a_.dataplane.sessions.empty());
  EXPECT_TRUE(a_.PeerNamed("b").sessions.empty());
}

TEST_F(ControllerTest, DoesNotAdoptAVoidSessionWhoseInstallationWasNeverAnswered) {
  StartBoth();
  a_.dataplane.hold_install_answers = true;
  WantHandshake(a_, b_);
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.dataplane.sessions.empty(); }));
  WriteConfig(a_, PeerText(b_, "psk_file = \"" + PskFile(a_) + "\"\n"));
  ASSERT_TRUE(a_.controller->Reload().ok());
  a_.dataplane.Disconnect();
  a_.dataplane.AnswerInstalls();
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.Connected(); }));
  loop_.Drain();
  Reconnect(a_);
  EXPECT_TRUE(a_.dataplane.sessions.empty());
  EXPECT_TRUE(a_.PeerNamed("b").sessions.empty());
}

TEST_F(ControllerTest, APeerThatComesBackDoesNotInheritASessionThatWasBeingInstalled) {
  StartBoth();
  TestNode c(loop_, "c", 4);
  ASSERT_TRUE(a_.controller->AddPeer(c.Spec()).ok());
  c.AddToConfig(a_.Spec());
  ASSERT_TRUE(c.StartController().ok());
  c.dataplane.Connect();
  ASSERT_TRUE(
      loop_.RunUntil([&] { return c.Connected() && a_.dataplane.state.peers_size() == 2; }));
  loop_.Drain();
  a_.dataplane.hold_install_answers = true;
  WantHandshake(a_, c);
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.dataplane.sessions.empty(); }));
  // Both changes reach the dataplane as one, in which the peer never left.
  c_.config.name = "d";
  ASSERT_TRUE(a_.controller->AddPeer(c_.Spec()).ok());
  ASSERT_TRUE(a_.controller->RemovePeer("c").ok());
  ASSERT_TRUE(a_.controller->AddPeer(c.Spec()).ok());
  a_.dataplane.AnswerInstalls();
  loop_.Drain();
  EXPECT_TRUE(a_.dataplane.sessions.empty());
  EXPECT_TRUE(a_.PeerNamed("c").sessions.empty());
}

TEST_F(ControllerTest, ARemovedPeerReleasesTheTagOfASessionThatWasBeingInstalled) {
  StartBoth();
  ASSERT_TRUE(a_.controller->AddPeer(c_.Spec()).ok());
  c_.AddToConfig(a_.Spec());
  ASSERT_TRUE(c_.StartController().ok());
  c_.dataplane.Connect();
  ASSERT_TRUE(
      loop_.RunUntil([&] { return c_.Connected() && a_.dataplane.state.peers_size() == 2; }));
  loop_.Drain();
  a_.dataplane.hold_install_answers = true;
  WantHandshake(a_, c_);
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.dataplane.sessions.empty(); }));
  ASSERT_TRUE(a_.controller->RemovePeer("c").ok());
  EXPECT_EQ(a_.controller->reserved_tags(), 1U);
  a_.dataplane.AnswerInstalls();
  loop_.Drain();
  EXPECT_EQ(a_.controller->reserved_tags(), 0U);
}

TEST_F(ControllerTest, AWrongFileChangesNothingAndSaysWhy) {
  StartBoth();
  WriteConfig(a_, PeerText(b_, "color = 3\n") + "[api]\ngroup = \"g\"\n");
  EXPECT_EQ(a_.controller->Reload().status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(a_.controller->last_reload_error(), HasSubstr("controller.toml:10: peers.color"));
  WriteConfig(a_, PeerText(b_, "") + "[api]\ngroup = \"g\"\n");
  EXPECT_THAT(Message(a_.controller->Reload().status()), HasSubstr("api.group"));
  EXPECT_THAT(a_.controller->last_reload_error(), HasSubstr("restart"));
  WriteConfig(a_, PeerText(a_, ""));
  EXPECT_THAT(Message(a_.controller->Reload().status()), HasSubstr("this node"));
  EXPECT_EQ(a_.controller->peers().size(), 1U);
  EXPECT_EQ(a_.dataplane.applied.size(), 1U);
  WriteConfig(a_, PeerText(b_, ""));
  EXPECT_TRUE(a_.controller->Reload().ok());
  EXPECT_EQ(a_.controller->last_reload_error(), "");
}

TEST_F(ControllerTest, ReloadRefusesWhatAnApiPeerHolds) {
  StartBoth();
  ASSERT_TRUE(a_.controller->AddPeer(c_.Spec()).ok());
  WriteConfig(a_, PeerText(b_, "") + PeerText(c_, ""));
  EXPECT_THAT(Message(a_.controller->Reload().status()), HasSubstr("controller.toml:10: peers: "));
}

}  // namespace
}  // namespace omni
