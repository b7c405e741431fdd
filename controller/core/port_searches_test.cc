// SPDX-License-Identifier: Apache-2.0
#include "controller/core/port_searches.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include <boost/asio/post.hpp>

#include "controller/core/convert.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Sends tries to a NAT of which one port, or none, leads to the peer.
class HardNat : public FakeDataplane {
 public:
  HardNat(boost::asio::io_context& io, FakeWire& wire)
      : FakeDataplane(io, wire, *Endpoint::Parse("192.0.2.1:51900")), io_(io) {}
  void TryPath(const dataplane::v1::TryPathRequest& request,
               Callback<dataplane::v1::TryPathResponse> done) override {
    ++tried;
    boost::asio::post(io_, [this, request, done] {
      if (is_idle) return done(absl::FailedPreconditionError("no traffic"));
      done(dataplane::v1::TryPathResponse());
      if (request.to().port() == port) searches->OnEchoReply(request.token());
    });
  }
  uint32_t port = 0;
  bool is_idle = false;
  int tried = 0;
  PortSearches* searches = nullptr;

 private:
  boost::asio::io_context& io_;
};

class PortSearchesTest : public ::testing::Test {
 protected:
  PortSearchesTest() {
    searches_ = std::make_unique<PortSearches>(
        loop_.io, nat_,
        PortSearches::Options{
            .clock = [this] { return loop_.now; },
            .new_token = [this] { return ++token_; },
            .random = [] { return 5U; },
            .targets = [this] { return targets_; },
            .found = [this](const NodeId& id, const Endpoint& at) { found_.emplace_back(id, at); },
            .pause = 0ns});
    nat_.searches = searches_.get();
    peer_.bytes[0] = 7;
    targets_ = {{.peer = peer_, .address = hard_, .seen = {40'000}}};
  }
  // From one turn of the timer to the next, as if its waits were over.
  template <typename Condition>
  bool Run(Condition condition) {
    return loop_.RunUntil([&] {
      loop_.now += 1ms;
      return condition();
    });
  }
  void Begin() {
    searches_->Start();
    ASSERT_TRUE(Run([&] { return searches_->counters().begun > 0; }));
  }

  TestLoop loop_;
  HardNat nat_{loop_.io, loop_.wire};
  const IpAddress hard_ = *IpAddress::Parse("198.51.100.7");
  NodeId peer_;
  uint64_t token_ = 0;
  std::vector<PortSearches::Target> targets_;
  std::vector<std::pair<NodeId, Endpoint>> found_;
  std::unique_ptr<PortSearches> searches_;
};

TEST_F(PortSearchesTest, FindsThePortOfABlockSoon) {
  nat_.port = 40'123;
  Begin();
  ASSERT_TRUE(Run([&] { return !found_.empty(); }));
  EXPECT_EQ(found_.front(), std::pair(peer_, Endpoint{.address = hard_, .port = 40'123}));
  EXPECT_LT(nat_.tried, 300);
  EXPECT_EQ(searches_->counters().found, 1U);
}

TEST_F(PortSearchesTest, EndsWhenAllPortsWereTriedAndDoesNotBeginAgain) {
  Begin();
  EXPECT_THAT(searches_->Describe(peer_), HasSubstr("of 64512 ports of 198.51.100.7 tried"));
  ASSERT_TRUE(Run([&] { return searches_->counters().exhausted == 1; }));
  EXPECT_EQ(searches_->counters().tries, PortSearch::kTotal);
  EXPECT_EQ(searches_->Describe(peer_), "no port of 198.51.100.7 leads to it");
  EXPECT_EQ(searches_->counters().begun, 1U);
}

TEST_F(PortSearchesTest, WithoutTrafficItRestsAndThenGoesOnWhereItWas) {
  nat_.is_idle = true;
  Begin();
  ASSERT_TRUE(Run([&] { return nat_.tried > 0; }));
  loop_.Drain();
  EXPECT_LE(nat_.tried, 2);
  nat_.is_idle = false;
  nat_.port = 40'000;  // the first of all, which was refused
  loop_.now += PortSearches::kLook;
  searches_->Start();
  ASSERT_TRUE(Run([&] { return !found_.empty(); }));
  EXPECT_EQ(searches_->counters().begun, 1U);
}

TEST_F(PortSearchesTest, APeerThatIsMetOtherwiseIsNotSearchedForAnyMore) {
  Begin();
  targets_.clear();
  loop_.now += PortSearches::kLook;
  ASSERT_TRUE(Run([&] { return searches_->Describe(peer_).empty(); }));
  EXPECT_EQ(searches_->counters().exhausted, 0U);
}

TEST_F(PortSearchesTest, AnAnswerToNothingIsNobodys) {
  Begin();
  EXPECT_FALSE(searches_->OnEchoReply(uint64_t{1} << 40U));
  EXPECT_THAT(found_, IsEmpty());
}

}  // namespace
}  // namespace omni
