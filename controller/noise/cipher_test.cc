// SPDX-License-Identifier: Apache-2.0
// Which cipher two engines agree on, and that nobody between them has a say.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "common/wire.h"
#include "controller/noise/cookies.h"
#include "controller/noise/payload.h"
#include "controller/noise/test_node.h"

namespace omni::noise {
namespace {

constexpr std::array kChaChaOnly = {Cipher::kChaCha20Poly1305};

class CipherTest : public ::testing::Test {
 protected:
  CipherTest() {
    EXPECT_TRUE(a_.Know(b_).ok());
    EXPECT_TRUE(b_.Know(a_).ok());
  }
  // Both ends' sessions of a handshake that a starts.
  std::pair<EstablishedSession, EstablishedSession> Handshake() {
    now_ += 1s;
    auto first = a_.engine.Initiate(b_.id, now_);
    auto second = b_.engine.OnDatagram(first.datagrams.at(0).bytes, a_.endpoint, now_);
    auto third = a_.engine.OnDatagram(second.datagrams.at(0).bytes, b_.endpoint, now_);
    EXPECT_EQ(second.sessions.at(0).session_id, third.sessions.at(0).session_id);
    return {std::move(third.sessions.at(0)), std::move(second.sessions.at(0))};
  }
  void ExpectCipher(Cipher cipher) {
    const auto [initiator, responder] = Handshake();
    EXPECT_EQ(initiator.cipher, cipher);
    EXPECT_EQ(responder.cipher, cipher);
  }

  TestNode a_{1};
  TestNode b_{2};
  Instant now_ = kStart;
};

TEST_F(CipherTest, IsChaCha20Poly1305WhenNobodySaysMore) {
  ExpectCipher(Cipher::kChaCha20Poly1305);
}

TEST_F(CipherTest, IsAesOnlyWhenBothOfferIt) {
  a_.engine.SetCiphers(kAllCiphers);
  b_.engine.SetCiphers(kAllCiphers);
  ExpectCipher(Cipher::kAes256Gcm);
  b_.engine.SetCiphers(kChaChaOnly);
  ExpectCipher(Cipher::kChaCha20Poly1305);
  a_.engine.SetCiphers(kChaChaOnly);
  ExpectCipher(Cipher::kChaCha20Poly1305);
  b_.engine.SetCiphers(kAllCiphers);
  ExpectCipher(Cipher::kChaCha20Poly1305);
}

TEST_F(CipherTest, AnEngineThatOffersNothingStillHasChaCha20Poly1305) {
  a_.engine.SetCiphers({});
  b_.engine.SetCiphers(kAllCiphers);
  ExpectCipher(Cipher::kChaCha20Poly1305);
}

TEST_F(CipherTest, IsThatOfTheOfferWhichWasSent) {
  a_.engine.SetCiphers(kAllCiphers);
  b_.engine.SetCiphers(kAllCiphers);
  auto first = a_.engine.Initiate(b_.id, now_);
  a_.engine.SetCiphers(kChaChaOnly);  // counts from the next initiation
  auto second = b_.engine.OnDatagram(first.datagrams.at(0).bytes, a_.endpoint, now_);
  b_.engine.SetCiphers(kChaChaOnly);
  auto third = a_.engine.OnDatagram(second.datagrams.at(0).bytes, b_.endpoint, now_);
  EXPECT_EQ(second.sessions.at(0).cipher, Cipher::kAes256Gcm);
  EXPECT_EQ(third.sessions.at(0).cipher, Cipher::kAes256Gcm);
  ExpectCipher(Cipher::kChaCha20Poly1305);
}

// Every bit of both encrypted payloads, the ciphers' among them, by somebody who can make mac1.
TEST_F(CipherTest, NoBitOfAPayloadCanBeChangedOnTheWay) {
  a_.engine.SetCiphers(kAllCiphers);
  b_.engine.SetCiphers(kAllCiphers);
  const auto flip = [this](TestNode& to, const TestNode& from, std::vector<uint8_t> message,
                           size_t payload_at) {
    for (size_t bit = 0; bit < (wire::kPayloadBytes + wire::kTagBytes) * 8; ++bit) {
      auto changed = message;
      changed[payload_at + bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
      FillMacs(changed, to.engine.mac1_key(), std::nullopt);
      now_ += 10ms;  // slow enough not to be load
      const Output out = to.engine.OnDatagram(changed, from.endpoint, now_);
      EXPECT_TRUE(out.sessions.empty() && out.datagrams.empty()) << bit;
    }
  };
  const auto initiation = a_.engine.Initiate(b_.id, now_).datagrams.at(0).bytes;
  flip(b_, a_, initiation, offsetof(wire::Initiation, encrypted_payload));
  const auto answer = b_.engine.OnDatagram(initiation, a_.endpoint, now_);
  const auto response = answer.datagrams.at(0).bytes;
  flip(a_, b_, response, offsetof(wire::Response, encrypted_payload));
  const auto done = a_.engine.OnDatagram(response, b_.endpoint, now_);
  EXPECT_EQ(done.sessions.at(0).cipher, Cipher::kAes256Gcm);
  EXPECT_EQ(answer.sessions.at(0).cipher, Cipher::kAes256Gcm);
}

TEST(AgreedCipher, IsTheSameFromBothSidesWhateverTheOtherBits) {
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const Offer ours{.ciphers = static_cast<uint8_t>(a)};
      const Offer theirs{.ciphers = static_cast<uint8_t>(b)};
      EXPECT_EQ(AgreedCipher(ours, theirs), AgreedCipher(theirs, ours));
      EXPECT_EQ(AgreedCipher(ours, theirs) == Cipher::kAes256Gcm, (a & 2) != 0 && (b & 2) != 0);
    }
  }
}

}  // namespace
}  // namespace omni::noise
