// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/aead.h"

#include <gtest/gtest.h>

#include <random>

#include "bpf/abi.h"

namespace omni {
namespace {

// One that is wrong in a way that a self-test must notice.
class BrokenAead final : public Aead {
 public:
  enum class Fault { kAcceptsAll, kWrongTag, kLosesText };
  BrokenAead(std::unique_ptr<Aead> inner, Fault fault) : inner_(std::move(inner)), fault_(fault) {}

  std::string_view name() const override { return "broken"; }
  void Seal(std::span<AeadJob> jobs) override {
    inner_->Seal(jobs);
    if (fault_ != Fault::kWrongTag) return;
    for (AeadJob& job : jobs) job.header[16] ^= 1;
  }
  void Open(std::span<AeadJob> jobs) override {
    inner_->Open(jobs);
    for (AeadJob& job : jobs) {
      if (fault_ == Fault::kAcceptsAll) job.authentic = true;
      if (fault_ == Fault::kLosesText && job.text_bytes > 200) job.header[32 + 100] ^= 1;
    }
  }

 private:
  std::unique_ptr<Aead> inner_;
  Fault fault_;
};

TEST(Aead, EveryBackendPassesItsSelfTest) {
  ASSERT_FALSE(AvailableAeadBackends().empty());
  for (const AeadBackend backend : AvailableAeadBackends()) {
    auto aead = MakeAead(backend);
    ASSERT_TRUE(aead.ok());
    EXPECT_EQ((*aead)->name(), AeadBackendName(backend));
    EXPECT_TRUE(SelfTestAead(**aead).ok()) << SelfTestAead(**aead);
  }
}

TEST(Aead, TheSelfTestNoticesABrokenBackend) {
  for (const auto fault : {BrokenAead::Fault::kAcceptsAll, BrokenAead::Fault::kWrongTag,
                           BrokenAead::Fault::kLosesText}) {
    BrokenAead broken(*MakeAead(AeadBackend::kLibsodium), fault);
    EXPECT_EQ(SelfTestAead(broken).code(), absl::StatusCode::kInternal);
  }
}

TEST(Aead, JudgesEachJobOfABatchByItself) {
  for (const AeadBackend backend : AvailableAeadBackends()) {
    auto aead = *MakeAead(backend);
    Key32 key;
    key.mutable_data()[5] = 9;
    constexpr size_t kJobs = 50;
    std::vector<std::vector<uint8_t>> packets;
    std::vector<AeadJob> jobs;
    for (size_t i = 0; i < kJobs; ++i)
      packets.emplace_back(OMNI_DATA_OVERHEAD + i * 31, uint8_t{3});
    for (auto& packet : packets) {
      jobs.push_back({.key = &key,
                      .header = packet.data(),
                      .text_bytes = static_cast<uint32_t>(packet.size() - OMNI_DATA_OVERHEAD)});
    }
    aead->Seal(jobs);
    for (size_t i = 0; i < kJobs; i += 3) packets[i][i % packets[i].size()] ^= 0x40;
    aead->Open(jobs);
    for (size_t i = 0; i < kJobs; ++i) EXPECT_EQ(jobs[i].authentic, i % 3 != 0) << i;
  }
}

}  // namespace
}  // namespace omni
