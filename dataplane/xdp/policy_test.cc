// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace omni {
namespace {

using testing::HasSubstr;

HostInterface Interface(const char* name, const char* driver) {
  return {.index = 7, .name = name, .driver = driver, .up = true};
}

std::string Joined(const std::vector<std::string>& words) {
  std::string out = "auto";
  for (const std::string& word : words) out += "," + word;
  return out;
}

PathSettings Options(const std::vector<std::string>& xdp, const std::vector<std::string>& path) {
  return {.path = *ParsePathChoices(Joined(path)), .xdp = *ParseXdpChoices(Joined(xdp))};
}

TEST(XdpPolicy, ChoosesByItselfWhereNothingIsLost) {
  const PathSettings options;
  for (const char* driver : {"i40e", "ice", "igc", "ixgbe", "mlx5_core", "gve"}) {
    const XdpDecision decision = DecideXdp(Interface("eth0", driver), options);
    EXPECT_EQ(decision.mode, XdpMode::kNative) << driver;
    EXPECT_EQ(decision.sockets, SocketChoice::kZeroCopy) << driver;
    EXPECT_FALSE(decision.named);
  }
  for (const char* driver : {"veth", "virtio_net", "bridge", "e1000e", ""}) {
    const XdpDecision decision = DecideXdp(Interface("eth0", driver), options);
    EXPECT_FALSE(decision.mode) << driver;
    EXPECT_EQ(decision.sockets, SocketChoice::kNone) << driver;
    EXPECT_FALSE(decision.reason.empty());
  }
}

TEST(XdpPolicy, FollowsTheOperator) {
  const struct {
    std::vector<std::string> xdp, path;
    std::optional<XdpMode> mode;
    SocketChoice sockets;
  } cases[] = {
      {{"native"}, {}, XdpMode::kNative, SocketChoice::kZeroCopy},
      {{"generic"}, {}, XdpMode::kGeneric, SocketChoice::kNone},
      {{"generic"}, {"afxdp"}, XdpMode::kGeneric, SocketChoice::kNone},
      {{}, {"afxdp"}, XdpMode::kNative, SocketChoice::kZeroCopyOrCopy},
      {{"off"}, {"afxdp"}, std::nullopt, SocketChoice::kNone},
      {{"native"}, {"socket"}, XdpMode::kNative, SocketChoice::kNone},
      {{"off", "eth0=native"}, {}, XdpMode::kNative, SocketChoice::kZeroCopy},
      {{"eth1=native"}, {}, std::nullopt, SocketChoice::kNone},
      {{}, {"socket", "eth0=afxdp"}, XdpMode::kNative, SocketChoice::kZeroCopyOrCopy},
      {{}, {"afxdp", "eth0=socket"}, std::nullopt, SocketChoice::kNone},
  };
  for (const auto& c : cases) {
    const XdpDecision decision = DecideXdp(Interface("eth0", "veth"), Options(c.xdp, c.path));
    SCOPED_TRACE(testing::PrintToString(c.xdp) + testing::PrintToString(c.path));
    EXPECT_EQ(decision.mode, c.mode);
    EXPECT_EQ(decision.sockets, c.sockets);
    EXPECT_NE(decision.socket_reason.empty(), decision.sockets == SocketChoice::kNone);
  }
}

TEST(XdpPolicy, SaysWhatVethLoses) {
  EXPECT_THAT(DecideXdp(Interface("eth0", "veth"), Options({"native"}, {})).reason,
              HasSubstr("TSO"));
}

TEST(XdpPolicy, KnowsWhenNothingIsWanted) {
  const std::vector<HostInterface> veth = {Interface("eth0", "veth")};
  EXPECT_FALSE(WantsXdp(veth, Options({}, {})));
  EXPECT_FALSE(WantsXdp(veth, Options({"off"}, {"afxdp"})));
  EXPECT_TRUE(WantsXdp(veth, Options({}, {"afxdp"})));
  EXPECT_TRUE(WantsXdp({}, Options({"eth9=native"}, {})));
  EXPECT_TRUE(WantsXdp({}, Options({}, {"eth9=afxdp"})));
  EXPECT_TRUE(WantsXdp({Interface("eth0", "ice")}, Options({}, {})));
  EXPECT_FALSE(WantsXdp({Interface("eth0", "ice")}, Options({"off"}, {})));
}

TEST(XdpPolicy, KnowsWhenNothingCanEverBeWanted) {
  EXPECT_FALSE(ExcludesXdp(Options({}, {"socket"})));
  EXPECT_TRUE(ExcludesXdp(Options({"off"}, {"afxdp"})));
  EXPECT_TRUE(ExcludesXdp(Options({"off", "eth0=off"}, {})));
  EXPECT_FALSE(ExcludesXdp(Options({"off", "eth0=auto"}, {})));
}

}  // namespace
}  // namespace omni
