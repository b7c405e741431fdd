// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/aead.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "bpf/abi.h"
#include "dataplane/core/test_loop.h"

namespace omni {
namespace {

using omni::testing::AllAeads;

// One that is wrong in a way that a self-test must notice.
class BrokenEngine final : public CipherEngine {
 public:
  enum class Fault { kNone, kAcceptsAll, kWrongTag, kLosesText, kSticksToItsKey };
  BrokenEngine(std::unique_ptr<CipherEngine> inner, Fault fault)
      : inner_(std::move(inner)), fault_(fault) {}

  void Seal(std::span<AeadJob> jobs) override {
    KeepKey(jobs);
    inner_->Seal(jobs);
    if (fault_ != Fault::kWrongTag) return;
    for (AeadJob& job : jobs) job.header[16] ^= 1;
  }
  void Open(std::span<AeadJob> jobs) override {
    KeepKey(jobs);
    inner_->Open(jobs);
    for (AeadJob& job : jobs) {
      if (fault_ == Fault::kAcceptsAll) job.authentic = true;
      if (fault_ == Fault::kLosesText && job.text_bytes > 200) job.header[32 + 100] ^= 1;
    }
  }
  void Forget(uint64_t id) override { inner_->Forget(id); }

 private:
  // As a cache would that knows channels by their ids alone.
  void KeepKey(std::span<AeadJob> jobs) {
    if (fault_ != Fault::kSticksToItsKey) return;
    for (AeadJob& job : jobs) job.key = jobs.front().key;
  }

  std::unique_ptr<CipherEngine> inner_;
  Fault fault_;
};

// A packet of a channel, and the job for it.
struct Packet {
  Packet(uint64_t channel, uint64_t counter, size_t bytes)
      : memory(OMNI_DATA_OVERHEAD + bytes, uint8_t{3}) {
    std::memcpy(memory.data(), &channel, sizeof(channel));
    std::memcpy(memory.data() + 8, &counter, sizeof(counter));
  }
  AeadJob Job(const Key32& key, Cipher cipher) {
    return {.key = &key,
            .header = memory.data(),
            .text_bytes = static_cast<uint32_t>(memory.size() - OMNI_DATA_OVERHEAD),
            .cipher = cipher};
  }
  std::vector<uint8_t> memory;
};

Key32 NumberedKey(size_t number) {
  Key32 key;
  std::memcpy(key.mutable_data(), &number, sizeof(number));
  return key;
}

TEST(Aead, EveryEnginePassesItsSelfTest) {
  ASSERT_FALSE(AllAeads().empty());
  for (const auto& [cipher, backend] : AllAeads()) {
    auto engine = MakeCipherEngine(cipher, backend);
    ASSERT_TRUE(engine.ok());
    const absl::Status status = SelfTestCipher(**engine, cipher, AeadBackendName(backend));
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(Aead, EveryBackendHasChaCha20Poly1305OrNothing) {
  for (const AeadBackend backend : kAllAeadBackends) {
    EXPECT_EQ(MakeAead(backend).ok(), MakeCipherEngine(Cipher::kChaCha20Poly1305, backend).ok());
  }
  EXPECT_TRUE(MakeAead(AeadBackend::kOpenSsl).ok());
  EXPECT_TRUE(MakeAead(AeadBackend::kLibsodium).ok());
}

TEST(Aead, TheSelfTestNoticesABrokenEngine) {
  using Fault = BrokenEngine::Fault;
  for (const auto& [cipher, backend] : AllAeads()) {
    for (const auto fault : {Fault::kNone, Fault::kAcceptsAll, Fault::kWrongTag, Fault::kLosesText,
                             Fault::kSticksToItsKey}) {
      BrokenEngine broken(*MakeCipherEngine(cipher, backend), fault);
      EXPECT_EQ(SelfTestCipher(broken, cipher, AeadBackendName(backend)).code(),
                fault == Fault::kNone ? absl::StatusCode::kOk : absl::StatusCode::kInternal);
    }
  }
}

TEST(Aead, JudgesEachJobOfABatchByItself) {
  for (const auto& [cipher, backend] : AllAeads()) {
    auto engine = *MakeCipherEngine(cipher, backend);
    const Key32 key = NumberedKey(9);
    std::vector<Packet> packets;
    std::vector<AeadJob> jobs;
    for (size_t i = 0; i < 50; ++i) packets.emplace_back(4, i, i * 31);
    for (Packet& packet : packets) jobs.push_back(packet.Job(key, cipher));
    engine->Seal(jobs);
    for (size_t i = 0; i < jobs.size(); i += 3) {
      packets[i].memory[i % packets[i].memory.size()] ^= 0x40;
    }
    engine->Open(jobs);
    for (size_t i = 0; i < jobs.size(); ++i) EXPECT_EQ(jobs[i].authentic, i % 3 != 0) << i;
  }
}

// More channels than any engine keeps expanded keys for, in turns, some forgotten on the way.
TEST(Aead, KeepsManyChannelsApart) {
  constexpr size_t kChannels = 1000;
  for (const auto& [cipher, backend] : AllAeads()) {
    auto engine = *MakeCipherEngine(cipher, backend);
    auto reference = *MakeCipherEngine(cipher, AllAeads().front().second);
    std::vector<Key32> keys;
    std::vector<Packet> packets;
    for (size_t i = 0; i < kChannels; ++i) {
      keys.push_back(NumberedKey(i));
      packets.emplace_back(i << 16 | 4, i, 40);
    }
    for (size_t i = 0; i < kChannels; ++i) {
      AeadJob job = packets[i].Job(keys[i], cipher);
      engine->Seal({&job, 1});
      if (i % 7 == 0) engine->Forget(i << 16 | 4);
    }
    std::vector<AeadJob> jobs;
    for (size_t i = 0; i < kChannels; ++i) jobs.push_back(packets[i].Job(keys[i], cipher));
    engine->Open(jobs);
    for (size_t i = 0; i < kChannels; ++i) EXPECT_TRUE(jobs[i].authentic) << i;
    engine->Seal(jobs);
    reference->Open(jobs);
    for (size_t i = 0; i < kChannels; ++i) EXPECT_TRUE(jobs[i].authentic) << i;
  }
}

// Memory of a channel that ended is given to another one, with the same id even.
TEST(Aead, AKeyThatTakesTheAddressOfAnotherIsNotTakenForIt) {
  for (const auto& [cipher, backend] : AllAeads()) {
    auto engine = *MakeCipherEngine(cipher, backend);
    Key32 key = NumberedKey(1);
    Packet first(4, 0, 100);
    AeadJob job = first.Job(key, cipher);
    engine->Seal({&job, 1});
    key = NumberedKey(2);
    engine->Open({&job, 1});
    EXPECT_FALSE(job.authentic);
    Packet second(4, 0, 100);
    AeadJob other = second.Job(key, cipher);
    engine->Seal({&other, 1});
    key = NumberedKey(1);
    engine->Open({&other, 1});
    EXPECT_FALSE(other.authentic);
  }
}

TEST(Aead, SealsEachJobWithTheCipherThatItNames) {
  auto aead = *MakeAead(AeadBackend::kOpenSsl);
  ASSERT_TRUE(aead->Supports(Cipher::kAes256Gcm));
  const Key32 key = NumberedKey(5);
  std::vector<Packet> packets;
  std::vector<AeadJob> jobs;
  for (size_t i = 0; i < 20; ++i) packets.emplace_back(4, i, 100);
  const auto cipher_of = [](size_t i) {
    return i % 5 < 2 ? Cipher::kAes256Gcm : Cipher::kChaCha20Poly1305;
  };
  for (size_t i = 0; i < packets.size(); ++i) jobs.push_back(packets[i].Job(key, cipher_of(i)));
  aead->Seal(jobs);
  for (size_t i = 0; i < packets.size(); ++i) {
    auto engine = *MakeCipherEngine(cipher_of(i), AeadBackend::kOpenSsl);
    Packet copy = packets[i];
    AeadJob job = copy.Job(key, cipher_of(i));
    engine->Open({&job, 1});
    EXPECT_TRUE(job.authentic) << i;
  }
  aead->Open(jobs);
  EXPECT_TRUE(std::ranges::all_of(jobs, &AeadJob::authentic));
}

}  // namespace
}  // namespace omni
