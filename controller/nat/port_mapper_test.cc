// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/port_mapper.h"

#include <gtest/gtest.h>

#include <atomic>

namespace omni {
namespace {

const Endpoint kOuter = *Endpoint::Parse("203.0.113.7:51900");

// A router that the test speaks for.
class PortMapperTest : public ::testing::Test {
 protected:
  PortMapper::Calls Calls() {
    return {.map = [this](uint16_t port, std::chrono::seconds) -> absl::StatusOr<PortMapping> {
              ++asked_;
              last_port_ = port;
              if (!grants_) return absl::UnavailableError("it does not");
              return PortMapping{.outer = kOuter, .lifetime = lifetime_};
            },
            .unmap =
                [this](uint16_t port, const PortMapping& mapping) {
                  EXPECT_EQ(mapping.outer, kOuter);
                  unmapped_ = port;
                }};
  }
  void MakeMapper() {
    mapper_ = std::make_unique<PortMapper>(
        loop_, [this] { ++changes_; }, Calls());
  }
  // Runs the loop until there were so many changes, or more, where they come by themselves.
  void AwaitChanges(int count) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (changes_ < count && std::chrono::steady_clock::now() < end) {
      loop_.restart();
      loop_.run_for(std::chrono::milliseconds(5));
    }
    ASSERT_GE(changes_, count);
  }

  boost::asio::io_context loop_;
  std::atomic<int> asked_{0};
  std::atomic<uint16_t> last_port_{0};
  std::atomic<bool> grants_{true};
  std::atomic<std::chrono::seconds> lifetime_{std::chrono::seconds(7200)};
  std::atomic<uint16_t> unmapped_{0};
  int changes_ = 0;
  std::unique_ptr<PortMapper> mapper_;
};

TEST_F(PortMapperTest, AsksForNothingUntilItIsTold) {
  MakeMapper();
  EXPECT_TRUE(mapper_->view().is_asking);
  mapper_.reset();
  EXPECT_EQ(asked_, 0);
  EXPECT_EQ(unmapped_, 0);
}

TEST_F(PortMapperTest, TellsWhatWasGrantedAndGivesItBack) {
  MakeMapper();
  mapper_->Request(51900);
  AwaitChanges(1);
  EXPECT_EQ(changes_, 1);
  ASSERT_TRUE(mapper_->view().mapping);
  EXPECT_EQ(mapper_->view().mapping->outer, kOuter);
  EXPECT_EQ(last_port_, 51900);
  mapper_.reset();
  EXPECT_EQ(unmapped_, 51900);
}

TEST_F(PortMapperTest, SaysWhyThereIsNoneAndAsksAgainOnRequest) {
  grants_ = false;
  MakeMapper();
  mapper_->Request(51900);
  AwaitChanges(1);
  EXPECT_EQ(changes_, 1);
  EXPECT_FALSE(mapper_->view().mapping);
  EXPECT_EQ(mapper_->view().error, "it does not");
  grants_ = true;
  mapper_->Request(51900);
  AwaitChanges(2);
  EXPECT_EQ(changes_, 2);
  EXPECT_TRUE(mapper_->view().mapping);
  EXPECT_EQ(mapper_->view().error, "");
}

TEST_F(PortMapperTest, RenewsBeforeTheMappingEnds) {
  lifetime_ = std::chrono::seconds(1);
  MakeMapper();
  mapper_->Request(51900);
  AwaitChanges(3);
  EXPECT_GE(asked_, 3);
}

TEST_F(PortMapperTest, AResultThatComesTooLateIsForgotten) {
  MakeMapper();
  mapper_->Request(51900);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (asked_ == 0 && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  mapper_.reset();  // the result waits in the loop
  loop_.restart();
  loop_.run();
  EXPECT_EQ(changes_, 0);
  EXPECT_EQ(unmapped_, 51900);
}

}  // namespace
}  // namespace omni
