// SPDX-License-Identifier: Apache-2.0
// From the configuration and the API to what the dataplane is told of the packets' ways.
#include <gtest/gtest.h>

#include "common/file.h"
#include "common/status.h"
#include "controller/core/path_request.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

namespace api = control::v1;
namespace dp = dataplane::v1;

PathWishes Wishes(const char* path, std::optional<InKernel> in_kernel = std::nullopt) {
  return {.path = ParsePathChoices(path).value(), .in_kernel = in_kernel};
}

class ControllerPaths : public ::testing::Test {
 protected:
  void Start() {
    ASSERT_TRUE(node_.StartController().ok());
    node_.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([this] { return node_.Connected(); }));
    loop_.Drain();
  }
  Controller& controller() { return *node_.controller; }
  std::string Told() {
    loop_.Drain();
    return ToRequest(FromProto(node_.dataplane.paths)).ShortDebugString();
  }

  TestLoop loop_;
  TestNode node_{loop_, "n1", 1};
};

TEST_F(ControllerPaths, SaysNothingWhenNobodyDoes) {
  Start();
  EXPECT_EQ(Told(), "");
}

TEST_F(ControllerPaths, TheApiIsStrongerThanTheFileAndSurvivesARestart) {
  node_.config.paths = Wishes("socket,eth1=afxdp", InKernel::kOff);
  Start();
  EXPECT_EQ(Told(), R"(path: "socket,eth1=afxdp" in_kernel: "off")");
  ASSERT_TRUE(controller().SetPaths({.say = Wishes("afxdp")}).ok());
  EXPECT_EQ(Told(), R"(path: "afxdp" in_kernel: "off")");
  ASSERT_TRUE(controller().SetPaths({.say = {.in_kernel_threshold = 256}}).ok());
  EXPECT_EQ(Told(), R"(path: "afxdp" in_kernel: "off" in_kernel_threshold: 256)");
  node_.dataplane.Disconnect();
  Start();
  EXPECT_EQ(Told(), R"(path: "afxdp" in_kernel: "off" in_kernel_threshold: 256)");
  ASSERT_TRUE(controller().SetPaths({.reset = true}).ok());
  EXPECT_EQ(Told(), R"(path: "socket,eth1=afxdp" in_kernel: "off")");
}

TEST_F(ControllerPaths, ADataplaneThatRestartedIsToldAgain) {
  Start();
  ASSERT_TRUE(controller().SetPaths({.say = Wishes("afxdp")}).ok());
  EXPECT_EQ(Told(), R"(path: "afxdp")");
  node_.dataplane.Restart();
  node_.dataplane.paths.Clear();
  node_.dataplane.Connect();
  ASSERT_TRUE(loop_.RunUntil([this] { return node_.dataplane.paths.has_path(); }));
  EXPECT_EQ(Told(), R"(path: "afxdp")");
}

TEST_F(ControllerPaths, WhoWaitsIsCalledWhenTheDataplaneHasIt) {
  Start();
  ASSERT_TRUE(controller().SetPaths({.say = Wishes("socket", InKernel::kOn)}).ok());
  bool called = false;
  controller().WhenApplied([&] { called = true; });
  EXPECT_FALSE(called);
  loop_.Drain();
  EXPECT_TRUE(called);
  // And handshakes offer a control channel from then on.
  EXPECT_EQ(controller().dataplane_view().info.control_channels(), 1U);
  called = false;
  controller().WhenApplied([&] { called = true; });
  EXPECT_TRUE(called) << "nothing is under way";
}

TEST_F(ControllerPaths, ADamagedFileIsAnErrorThatNamesIt) {
  const std::string file = node_.directory.path() + "/paths.json";
  for (const char* text : {"{", R"({"path": "fast"})", R"({"in_kernel_threshold": 1201})"}) {
    ASSERT_TRUE(WriteFileAtomically(file, text, 0600, Overwrite::kYes).ok());
    const absl::Status status = node_.StartController();
    EXPECT_NE(std::string(Message(status)).find("paths.json"), std::string::npos) << status;
  }
}

TEST(PathRequest, NamesTheField) {
  api::PathSettings settings;
  settings.set_xdp("native,eth0=fast");
  EXPECT_EQ(Message(CheckPathSettings(settings).status()),
            "xdp: \"fast\" is none of auto, off, native, generic");
  settings.set_xdp("");
  settings.set_in_kernel_threshold(5000);
  EXPECT_EQ(Message(CheckPathSettings(settings).status()),
            "in_kernel_threshold: 5000 is not within 0-1200");
}

TEST(PathRequest, WhatIsNotKnownHereIsNotSaid) {
  dp::Paths paths;
  paths.mutable_path()->set_others(dp::PATH_CHOICE_AFXDP);
  (*paths.mutable_path()->mutable_interfaces())["eth0"] = static_cast<dp::PathChoice>(99);
  paths.set_polling(static_cast<dp::Polling>(99));
  EXPECT_EQ(ToRequest(FromProto(paths)).ShortDebugString(), R"(path: "afxdp")");
}

}  // namespace
}  // namespace omni
