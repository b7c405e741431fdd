// SPDX-License-Identifier: Apache-2.0
// Omnictl: the whole of omnictl in one process, against a fake controller on a real unix socket.
// The fixture of its tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "cli/app.h"
#include "cli/fake_control.h"

namespace omni {

struct Result {
  int code = -1;
  std::string out;
  std::string err;
};

class Omnictl : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "omnictl-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    socket_ = directory_ + "/controller.sock";
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(directory_);
  }

  void StartController() {
    auto listener = UnixListener::Open({.path = socket_});
    ASSERT_TRUE(listener.ok()) << listener.status();
    auto server = UnixServer::Start(*std::move(listener), {}, {&control_});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  Result Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.end(), {"--socket", socket_});
    return RunAsIs(std::move(arguments));
  }
  static Result RunAsIs(std::vector<std::string> arguments) {
    std::ostringstream out;
    std::ostringstream err;
    const int code = RunOmnictl(std::move(arguments), out, err);
    return {code, out.str(), err.str()};
  }

  std::string directory_;
  std::string socket_;
  FakeControl control_;
  std::unique_ptr<UnixServer> server_;
};

}  // namespace omni
