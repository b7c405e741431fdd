// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "controller/net/interfaces.h"
#include "controller/net/resolver.h"

namespace omni {
namespace {

using Result = absl::StatusOr<std::vector<Endpoint>>;

Result Resolve(std::vector<std::pair<std::string, uint16_t>> hosts) {
  boost::asio::io_context loop;
  Resolver resolver(loop);
  std::optional<Result> result;
  resolver.Resolve(std::move(hosts), [&](Result r) { result = std::move(r); });
  EXPECT_FALSE(result.has_value());
  loop.run();
  return *result;
}

TEST(Resolver, GivesAddressesOfBothFamiliesOnceAndInOrder) {
  const auto found = Resolve({{"192.0.2.1", 7}, {"2001:db8::1", 8}, {"192.0.2.1", 7}});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, (std::vector<Endpoint>{*Endpoint::Parse("192.0.2.1:7"),
                                           *Endpoint::Parse("[2001:db8::1]:8")}));
}

TEST(Resolver, OneNameThatFailsDoesNotHideTheOthers) {
  const auto found = Resolve({{"no.such.name.invalid", 7}, {"192.0.2.1", 7}});
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->size(), 1U);
  const auto none = Resolve({{"no.such.name.invalid", 7}});
  ASSERT_FALSE(none.ok());
  EXPECT_NE(none.status().ToString().find("no.such.name.invalid"), std::string::npos);
}

TEST(InterfaceAddresses, HoldTheLoopbackUnlessItIsLeftOut) {
  const IpAddress loopback = *IpAddress::Parse("127.0.0.1");
  const auto all = InterfaceAddresses("");
  EXPECT_NE(std::ranges::find(all, loopback), all.end());
  const auto others = InterfaceAddresses("lo");
  EXPECT_EQ(std::ranges::find(others, loopback), others.end());
}

TEST(AddressWatcher, Starts) {
  boost::asio::io_context loop;
  AddressWatcher watcher(loop, [] {});
  EXPECT_TRUE(watcher.Start().ok());
}

}  // namespace
}  // namespace omni
