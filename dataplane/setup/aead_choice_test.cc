// SPDX-License-Identifier: Apache-2.0
#include "dataplane/setup/aead_choice.h"

#include <gtest/gtest.h>

namespace omni {
namespace {

// An engine that takes `cost` of a clock's time for each packet.
class TimedEngine final : public CipherEngine {
 public:
  TimedEngine(Instant& clock, Duration cost) : clock_(clock), cost_(cost) {}
  void Seal(std::span<AeadJob> jobs) override {
    for (const AeadJob& job : jobs) clock_ += cost_ * (job.text_bytes > 100 ? 10 : 1);
    cost_ += std::chrono::nanoseconds(50);  // it is interrupted more and more
  }
  void Open(std::span<AeadJob>) override {}
  void Forget(uint64_t) override {}

 private:
  Instant& clock_;
  Duration cost_;
};

TEST(AeadChoice, MeasuresTheBestTry) {
  Instant now;
  const auto clock = [&now] { return now; };
  TimedEngine engine(now, std::chrono::nanoseconds(100));
  const CipherSpeed speed = MeasureCipher(engine, Cipher::kAes256Gcm, AeadBackend::kOpenSsl, clock);
  EXPECT_EQ(speed.cipher, Cipher::kAes256Gcm);
  EXPECT_EQ(speed.backend, AeadBackend::kOpenSsl);
  EXPECT_EQ(speed.ns_64, 100U);
  EXPECT_EQ(speed.ns_1420, 10U * (100 + 8 * 50));  // eight tries later
}

TEST(AeadChoice, GivesEachWorkerWhatItLists) {
  auto choice = ChooseAeads(std::nullopt, 3);
  ASSERT_TRUE(choice.ok()) << choice.status();
  ASSERT_EQ(choice->aeads.size(), 3U);
  ASSERT_FALSE(choice->ciphers.empty());
  EXPECT_EQ(choice->ciphers.front().cipher, Cipher::kChaCha20Poly1305);
  for (const CipherSpeed& speed : choice->ciphers) {
    EXPECT_GT(speed.ns_64, 0U);
    EXPECT_GT(speed.ns_1420, 0U);
    for (const auto& aead : choice->aeads) EXPECT_TRUE(aead->Supports(speed.cipher));
  }
  EXPECT_EQ(choice->aeads.front()->Supports(Cipher::kAes256Gcm), choice->ciphers.size() == 2);
}

TEST(AeadChoice, TakesTheWantedBackendForEveryCipherThatItHas) {
  for (const AeadBackend backend : AvailableAeadBackends(Cipher::kChaCha20Poly1305)) {
    auto choice = ChooseAeads(backend, 1);
    ASSERT_TRUE(choice.ok()) << choice.status();
    for (const CipherSpeed& speed : choice->ciphers) EXPECT_EQ(speed.backend, backend);
    EXPECT_EQ(choice->ciphers.size() == 2, MakeCipherEngine(Cipher::kAes256Gcm, backend).ok());
  }
}

}  // namespace
}  // namespace omni
