// SPDX-License-Identifier: Apache-2.0
// From what the dataplane has and the configuration wants to the cipher of sessions.
#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/file.h"
#include "common/status.h"
#include "controller/core/convert.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;

using Ciphers = std::vector<Cipher>;
const Ciphers kBoth = {Cipher::kChaCha20Poly1305, Cipher::kAes256Gcm};
const Ciphers kChaChaOnly = {Cipher::kChaCha20Poly1305};

dp::CipherInfo Has(dp::Cipher cipher, uint32_t ns_64, uint32_t ns_1420) {
  dp::CipherInfo out;
  out.set_cipher(cipher);
  out.set_backend("fake");
  out.set_ns_64(ns_64);
  out.set_ns_1420(ns_1420);
  return out;
}
const dp::CipherInfo kChaCha = Has(dp::CIPHER_CHACHA20_POLY1305, 160, 540);
const dp::CipherInfo kFastAes = Has(dp::CIPHER_AES_256_GCM, 60, 230);
const dp::CipherInfo kSlowAes = Has(dp::CIPHER_AES_256_GCM, 400, 5000);

Ciphers Offer(CipherPolicy policy, const std::vector<dp::CipherInfo>& ciphers) {
  dp::GetInfoResponse info;
  for (const auto& cipher : ciphers) *info.add_ciphers() = cipher;
  return CiphersToOffer(policy, info);
}

TEST(CiphersToOffer, HasAesWhereItIsFasterOrWanted) {
  EXPECT_EQ(Offer(CipherPolicy::kAuto, {kChaCha, kFastAes}), kBoth);
  EXPECT_EQ(Offer(CipherPolicy::kAuto, {kChaCha, kSlowAes}), kChaChaOnly);
  EXPECT_EQ(Offer(CipherPolicy::kAes256Gcm, {kChaCha, kSlowAes}), kBoth);
  EXPECT_EQ(Offer(CipherPolicy::kChaCha20Poly1305, {kChaCha, kFastAes}), kChaChaOnly);
}

TEST(CiphersToOffer, HasNothingThatTheDataplaneHasNot) {
  for (const auto policy :
       {CipherPolicy::kAuto, CipherPolicy::kAes256Gcm, CipherPolicy::kChaCha20Poly1305}) {
    EXPECT_EQ(Offer(policy, {kChaCha}), kChaChaOnly);
    EXPECT_EQ(Offer(policy, {}), kChaChaOnly);
    EXPECT_EQ(Offer(policy, {Has(static_cast<dp::Cipher>(77), 1, 1)}), kChaChaOnly);
  }
}

class ControllerCipherTest : public ::testing::Test {
 protected:
  void StartBoth() {
    a_.AddToConfig(b_.Spec());
    b_.AddToConfig(a_.Spec());
    for (TestNode* node : {&a_, &b_}) {
      node->dataplane.ciphers = {kChaCha, kFastAes};
      ASSERT_TRUE(node->StartController().ok());
      node->dataplane.Connect();
    }
    ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected() && b_.Connected(); }));
  }
  // A further handshake; the cipher with which both dataplanes got its session.
  dp::Cipher CipherOfNewSession() {
    const uint64_t before = b_.PeerNamed("a").handshakes;
    loop_.now += std::chrono::seconds(1);
    a_.controller->Initiate(b_.identity.node_id());
    EXPECT_TRUE(loop_.RunUntil([&] { return b_.PeerNamed("a").handshakes > before; }));
    loop_.Drain();
    std::optional<dp::Cipher> out;
    for (const auto& [id, request] : a_.dataplane.sessions) {
      if (known_.insert(id).second) out = request.cipher();
    }
    EXPECT_TRUE(out.has_value());
    for (const auto& [id, request] : b_.dataplane.sessions) {
      EXPECT_EQ(request.cipher(), a_.dataplane.sessions[id].cipher());
    }
    return out.value_or(dp::CIPHER_UNSPECIFIED);
  }
  void SetCipher(TestNode& node, const TestNode& peer, const std::string& cipher) {
    const std::string text = "[node]\nname = \"" + node.config.name +
                             "\"\ncluster_secret_file = \"/unused\"\naddresses = [\"" +
                             node.config.addresses[0].ToString() + "\"]\nstate_dir = \"" +
                             node.directory.path() + "\"\n[session]\ncipher = \"" + cipher +
                             "\"\n[[peers]]\nname = \"" + peer.config.name + "\"\nkey = \"" +
                             peer.identity.public_key().ToString() + "\"\nendpoint = \"" +
                             peer.endpoint.ToString() + "\"\nallowed = [\"" +
                             peer.config.addresses[0].address.ToString() + "/32\"]\n";
    ASSERT_TRUE(WriteFileAtomically(node.config.file, text, 0600, Overwrite::kYes).ok());
    const auto reloaded = node.controller->Reload();
    ASSERT_TRUE(reloaded.ok()) << Message(reloaded.status());
    EXPECT_EQ(reloaded->changed, 0U);
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
  std::set<std::string> known_;
};

TEST_F(ControllerCipherTest, SessionsAreMadeWithTheCipherThatBothOffer) {
  StartBoth();
  EXPECT_EQ(CipherOfNewSession(), dp::CIPHER_AES_256_GCM);
  EXPECT_EQ(a_.PeerNamed("b").cipher, Cipher::kAes256Gcm);
  EXPECT_EQ(b_.PeerNamed("a").cipher, Cipher::kAes256Gcm);
}

TEST_F(ControllerCipherTest, AReloadCountsForTheNextHandshake) {
  StartBoth();
  EXPECT_EQ(CipherOfNewSession(), dp::CIPHER_AES_256_GCM);
  SetCipher(b_, a_, "chacha20-poly1305");
  EXPECT_EQ(b_.PeerNamed("a").cipher, Cipher::kAes256Gcm) << "the session goes on";
  EXPECT_EQ(CipherOfNewSession(), dp::CIPHER_CHACHA20_POLY1305);
  EXPECT_EQ(b_.PeerNamed("a").cipher, Cipher::kChaCha20Poly1305);
  EXPECT_EQ(a_.PeerNamed("b").cipher, Cipher::kChaCha20Poly1305);
  SetCipher(b_, a_, "aes-256-gcm");
  EXPECT_EQ(CipherOfNewSession(), dp::CIPHER_AES_256_GCM);
}

TEST_F(ControllerCipherTest, ADataplaneThatComesBackWithoutAesIsNotOfferedIt) {
  StartBoth();
  EXPECT_EQ(a_.controller->offered_ciphers(), kBoth);
  a_.dataplane.Restart();
  a_.dataplane.ciphers = {kChaCha};
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.Connected(); }));
  a_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
  EXPECT_EQ(a_.controller->offered_ciphers(), kChaChaOnly);
  EXPECT_EQ(CipherOfNewSession(), dp::CIPHER_CHACHA20_POLY1305);
}

TEST_F(ControllerCipherTest, AFreshControllerKnowsTheCipherOfTheSessionThatItAdopts) {
  StartBoth();
  EXPECT_EQ(CipherOfNewSession(), dp::CIPHER_AES_256_GCM);
  a_.dataplane.Disconnect();
  ASSERT_TRUE(a_.StartController().ok());
  a_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
  EXPECT_EQ(a_.PeerNamed("b").cipher, Cipher::kAes256Gcm);
}

}  // namespace
}  // namespace omni
