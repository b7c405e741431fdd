// SPDX-License-Identifier: Apache-2.0
// The cipher as a property of a session's channels.
#include <gtest/gtest.h>

#include "dataplane/hub/test_hub.h"

namespace omni::testing {
namespace {

using HubCipherTest = TestHub;

TEST_F(HubCipherTest, ARekeyMayChangeTheCipher) {
  const auto ciphers = [](const HubNode& node, Instant now) {
    std::vector<Cipher> out;
    const StateView state = node.hub.GetState(now);
    for (const SessionView& session : state.peers[0].sessions) out.push_back(session.cipher);
    return out;
  };
  Connect(1);
  SendFromA();
  Connect(2, Cipher::kAes256Gcm);
  EXPECT_EQ(ciphers(a_, now_), (std::vector{Cipher::kAes256Gcm, Cipher::kChaCha20Poly1305}));
  EXPECT_EQ(ciphers(b_, now_), ciphers(a_, now_));
  SendFromA();
  SendFromB();
  Connect(3);
  SendFromA();
  EXPECT_EQ(ciphers(b_, now_), (std::vector{Cipher::kChaCha20Poly1305, Cipher::kAes256Gcm}));
  EXPECT_EQ(b_.tun->to_host.size(), 3U);
  EXPECT_EQ(a_.tun->to_host.size(), 1U);
}

TEST_F(HubCipherTest, EndsThatDoNotAgreeOnTheCipherDoNotUnderstandEachOther) {
  ASSERT_TRUE(b_.hub.InstallSession(Session(1, SessionRole::kResponder, false), now_).ok());
  SessionSpec at_a = Session(1, SessionRole::kInitiator, true);
  at_a.cipher = Cipher::kAes256Gcm;
  ASSERT_TRUE(a_.hub.InstallSession(std::move(at_a), now_).ok());
  Settle();
  EXPECT_EQ(b_.worker->drops().value(DropReason::rx_bad_tag), 1U);
  EXPECT_EQ(SlotOf(b_, 1), SessionSlot::kNext);  // not confirmed
}

TEST_F(HubCipherTest, RefusesACipherThatItsWorkersDoNotHave) {
  Aead::Engines engines;
  engines[0] = *MakeCipherEngine(Cipher::kChaCha20Poly1305, AeadBackend::kLibsodium);
  HubNode node(wire_, endpoint_a_, std::make_unique<Aead>(std::move(engines)));
  StateChange change{.generation = 1, .node = Node("10.77.0.1/24")};
  change.upsert.push_back(Spec(2, {"10.77.0.2/32"}));
  ASSERT_TRUE(node.hub.ApplyState(change).ok());
  SessionSpec session = Session(1, SessionRole::kInitiator, true);
  session.cipher = Cipher::kAes256Gcm;
  const absl::Status status = node.hub.InstallSession(std::move(session), now_);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Message(status), "cipher: aes-256-gcm is not supported here");
  EXPECT_TRUE(node.hub.InstallSession(Session(1, SessionRole::kInitiator, true), now_).ok());
}

}  // namespace
}  // namespace omni::testing
