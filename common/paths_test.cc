// SPDX-License-Identifier: Apache-2.0
#include "common/paths.h"

#include <gtest/gtest.h>

#include "common/status.h"

namespace omni {
namespace {

TEST(Paths, ReadsValuesForAllAndByName) {
  const auto path = ParsePathChoices("afxdp,eth1=socket,socket,eth1=auto");
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(path->others, PathChoice::kSocket) << "the later one wins";
  EXPECT_EQ(path->For("eth1"), PathChoice::kAuto);
  EXPECT_EQ(path->For("eth0"), PathChoice::kSocket);
  EXPECT_EQ(ToText(*path), "socket,eth1=auto");
  EXPECT_EQ(ParsePathChoices(ToText(*path)).value(), *path);
  EXPECT_EQ(ParseXdpChoices("native,wlan0=off")->For("wlan0"), XdpChoice::kOff);
  EXPECT_EQ(ParseInKernel("off").value(), InKernel::kOff);
  EXPECT_EQ(ParsePolling("busy").value(), Polling::kBusy);
}

TEST(Paths, NamesTheWrongWord) {
  const auto message = [](std::string_view text) {
    return std::string(Message(ParsePathChoices(text).status()));
  };
  EXPECT_EQ(message("auto,eth0=fast"), "\"fast\" is none of auto, socket, afxdp");
  EXPECT_EQ(message(""), "\"\" is none of auto, socket, afxdp");
  EXPECT_EQ(message("auto,"), "\"\" is none of auto, socket, afxdp");
  EXPECT_EQ(message("=auto"), "\"\" is no name of an interface");
  EXPECT_EQ(message("a-name-of-16-chs=auto"), "\"a-name-of-16-chs\" is no name of an interface");
  EXPECT_EQ(message("a b=auto"), "\"a b\" is no name of an interface");
  std::string many = "auto";
  for (size_t i = 0; i <= kMaxNamedInterfaces; ++i) many += ",e" + std::to_string(i) + "=auto";
  EXPECT_EQ(message(many), "more than 256 interfaces are named");
  EXPECT_FALSE(CheckInKernelThreshold(1201).ok());
  EXPECT_FALSE(CheckInKernelThreshold(-1).ok());
  EXPECT_EQ(CheckInKernelThreshold(1200).value(), 1200U);
}

TEST(Paths, TheStrongerWishWins) {
  const PathSettings start = {.in_kernel_threshold = 300};
  const PathWishes file = {.path = ParsePathChoices("socket").value(), .in_kernel = InKernel::kOff};
  const PathWishes api = {.in_kernel = InKernel::kOn, .polling = Polling::kBusy};
  const PathSettings settings = file.OverlaidBy(api).On(start);
  EXPECT_EQ(settings.path.others, PathChoice::kSocket);
  EXPECT_EQ(settings.xdp.others, XdpChoice::kAuto);
  EXPECT_EQ(settings.in_kernel, InKernel::kOn);
  EXPECT_EQ(settings.in_kernel_threshold, 300U);
  EXPECT_EQ(settings.polling, Polling::kBusy);
  EXPECT_EQ(PathWishes{}.On(start), start);
}

}  // namespace
}  // namespace omni
