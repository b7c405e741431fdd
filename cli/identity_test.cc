// SPDX-License-Identifier: Apache-2.0
#include "cli/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <CLI/CLI.hpp>

#include "common/identity/identity.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

struct Result {
  int code = 0;
  std::string out;
  std::string err;
};

class IdentityCommandTest : public ::testing::Test {
 protected:
  IdentityCommandTest() { std::filesystem::create_directory(root_); }
  ~IdentityCommandTest() override { std::filesystem::remove_all(root_); }

  Result Run(const std::string& arguments, OutputFormat format = OutputFormat::kTable) {
    CLI::App app;
    AddIdentityCommand(app, format);
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    Result result;
    try {
      app.parse(arguments + " --dir " + directory_);
    } catch (const CLI::Error& error) {
      result.code = error.get_exit_code();
    }
    std::fflush(stdout);
    result.out = ::testing::internal::GetCapturedStdout();
    result.err = ::testing::internal::GetCapturedStderr();
    return result;
  }

  const std::string root_ =
      std::filesystem::temp_directory_path() / ("omni-cli-identity-" + std::to_string(getpid()));
  const std::string directory_ = root_ + "/identity";
};

TEST_F(IdentityCommandTest, NewMakesWhatShowAndExportPrint) {
  const Result made = Run("identity new");
  ASSERT_EQ(made.code, 0) << made.err;
  const auto identity = Identity::Load(directory_);
  ASSERT_TRUE(identity.ok()) << identity.status();
  const std::string id = identity->node_id().ToString();
  const std::string key = identity->public_key().ToString();
  EXPECT_EQ(made.out,
            "node id    " + id + "\nkey        " + key + "\ndirectory  " + directory_ + "\n");
  EXPECT_EQ(Run("identity show").out, made.out);
  EXPECT_EQ(Run("identity export").out, key + "\n");
  EXPECT_EQ(Run("identity show", OutputFormat::kJson).out,
            "{\n \"node_id\": \"" + id + "\",\n \"key\": \"" + key + "\",\n \"directory\": \"" +
                directory_ + "\"\n}\n");
}

TEST_F(IdentityCommandTest, NewLeavesAnExistingIdentityAlone) {
  ASSERT_EQ(Run("identity new").code, 0);
  const std::string before = Run("identity export").out;
  const Result again = Run("identity new");
  EXPECT_EQ(again.code, 1);
  EXPECT_THAT(again.err, HasSubstr(directory_ + "/identity.key exists"));
  EXPECT_EQ(again.out, "");
  EXPECT_EQ(Run("identity export").out, before);
}

TEST_F(IdentityCommandTest, ErrorsGoToStderrWithExitCodeOne) {
  for (const char* command : {"identity show", "identity export"}) {
    const Result result = Run(command);
    EXPECT_EQ(result.code, 1);
    EXPECT_EQ(result.out, "");
    EXPECT_THAT(result.err, HasSubstr("no identity in " + directory_));
  }
}

TEST_F(IdentityCommandTest, RootGivesTheFilesToTheControllersUser) {
  const passwd* user = getpwnam("omni");
  if (geteuid() != 0 || user == nullptr) return;  // nothing to give away, nobody to give it to
  ASSERT_EQ(Run("identity new").code, 0);
  for (const char* name : {"", "/identity.key", "/static.key"}) {
    struct stat st {};
    ASSERT_EQ(stat((directory_ + name).c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, user->pw_uid) << name;
  }
}

TEST_F(IdentityCommandTest, TheOwnerOfASharedDirectoryStays) {
  std::filesystem::create_directory(directory_);
  std::ofstream(directory_ + "/something") << "else";
  struct stat before {};
  ASSERT_EQ(stat(directory_.c_str(), &before), 0);
  ASSERT_EQ(Run("identity new").code, 0);
  struct stat after {};
  ASSERT_EQ(stat(directory_.c_str(), &after), 0);
  EXPECT_EQ(after.st_uid, before.st_uid);
}

}  // namespace
}  // namespace omni
