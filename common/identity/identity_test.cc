// SPDX-License-Identifier: Apache-2.0
#include "common/identity/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/encoding.h"
#include "common/identity/key_file.h"
#include "common/status.h"

namespace omni {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

void Overwrite(const std::string& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
}

mode_t ModeOf(const std::string& path) {
  struct stat st {};
  return stat(path.c_str(), &st) == 0 ? st.st_mode & 07777U : 0;
}

class IdentityTest : public ::testing::Test {
 protected:
  IdentityTest() { std::filesystem::create_directory(root_); }
  ~IdentityTest() override { std::filesystem::remove_all(root_); }

  std::string LoadError() const {
    const auto loaded = Identity::Load(directory_);
    return loaded.ok() ? "" : std::string(Message(loaded.status()));
  }

  const std::string root_ =
      std::filesystem::temp_directory_path() / ("omni-identity-test-" + std::to_string(getpid()));
  const std::string directory_ = root_ + "/identity";
  const std::string identity_key_ = directory_ + "/identity.key";
  const std::string static_key_ = directory_ + "/static.key";
};

TEST_F(IdentityTest, IsTheSameAfterLoading) {
  const auto made = Identity::Create(directory_);
  ASSERT_TRUE(made.ok()) << made.status();
  const auto loaded = Identity::Load(directory_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->public_key(), made->public_key());
  EXPECT_TRUE(loaded->static_private() == made->static_private());
  EXPECT_EQ(ModeOf(directory_), 0700U);
  EXPECT_EQ(ModeOf(identity_key_), 0600U);
  EXPECT_EQ(ModeOf(static_key_), 0600U);
}

TEST_F(IdentityTest, StaysUnderTheSizeThatIsRead) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  EXPECT_LE(std::filesystem::file_size(static_key_), kMaxKeyFileBytes);
}

TEST_F(IdentityTest, IsNotMadeTwice) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  const std::string before = Slurp(identity_key_) + Slurp(static_key_);
  EXPECT_EQ(Identity::Create(directory_).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(Slurp(identity_key_) + Slurp(static_key_), before);
}

TEST_F(IdentityTest, IsNotMadeBesideHalfOfAnOlderOne) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  std::filesystem::remove(identity_key_);
  const std::string before = Slurp(static_key_);
  EXPECT_EQ(Identity::Create(directory_).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(std::filesystem::exists(identity_key_));
  EXPECT_EQ(Slurp(static_key_), before);
}

TEST_F(IdentityTest, IsNotMadeOverADanglingLink) {
  std::filesystem::create_directory(directory_);
  std::filesystem::create_symlink(root_ + "/nowhere", static_key_);
  EXPECT_EQ(Identity::Create(directory_).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(std::filesystem::exists(identity_key_));
}

TEST_F(IdentityTest, LeavesNothingBehindWhenTheDirectoryCannotBeMade) {
  Overwrite(root_ + "/file", "not a directory");
  const auto made = Identity::Create(root_ + "/file/identity");
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(std::string(Message(made.status())), HasSubstr(root_ + "/file"));
}

TEST_F(IdentityTest, LeavesNoHalfWhenTheSecondFileCannotBeWritten) {
  // static.key is the longer file: a limit on file sizes between the two stops it alone.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{200, before.rlim_max};
  const auto previous_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto made = Identity::Create(directory_);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, previous_handler);
  ASSERT_FALSE(made.ok());
  EXPECT_THAT(std::string(Message(made.status())), HasSubstr("static.key"));
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

TEST_F(IdentityTest, MissingAltogetherSaysHowToMakeOne) {
  const auto loaded = Identity::Load(directory_);
  EXPECT_EQ(loaded.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(LoadError(), AllOf(HasSubstr(directory_), HasSubstr("omnictl identity new")));
}

TEST_F(IdentityTest, OneOfTwoFilesMissingIsAnError) {
  for (const std::string& path : {identity_key_, static_key_}) {
    std::filesystem::remove_all(directory_);
    ASSERT_TRUE(Identity::Create(directory_).ok());
    std::filesystem::remove(path);
    EXPECT_THAT(LoadError(), AllOf(HasSubstr(path), HasSubstr("missing"), HasSubstr("backup")));
    EXPECT_FALSE(std::filesystem::exists(path));
  }
}

TEST_F(IdentityTest, EveryTruncationIsNoticed) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  for (const std::string& path : {identity_key_, static_key_}) {
    const std::string whole = Slurp(path);
    for (size_t length = 0; length < whole.size(); ++length) {
      Overwrite(path, whole.substr(0, length));
      EXPECT_THAT(LoadError(), AllOf(HasSubstr(path), HasSubstr("backup"))) << length;
    }
    Overwrite(path, whole);
    EXPECT_EQ(LoadError(), "");
  }
}

TEST_F(IdentityTest, EveryFlippedBitAndAppendedByteIsNoticed) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  for (const std::string& path : {identity_key_, static_key_}) {
    const std::string whole = Slurp(path);
    for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
      std::string changed = whole;
      changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << (bit % 8)));
      Overwrite(path, changed);
      EXPECT_NE(LoadError(), "") << bit;
    }
    for (const char* more : {"\n", "x", "checksum 00\n"}) {
      Overwrite(path, whole + more);
      EXPECT_NE(LoadError(), "") << more;
    }
    Overwrite(path, whole);
  }
}

TEST_F(IdentityTest, FileOpenToOthersIsRefused) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  for (const std::string& path : {identity_key_, static_key_}) {
    for (const mode_t mode : {0640U, 0604U, 0620U, 0601U}) {
      ASSERT_EQ(chmod(path.c_str(), mode), 0);
      EXPECT_THAT(LoadError(), AllOf(HasSubstr(path), HasSubstr("chmod 600"))) << mode;
    }
    ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  }
  EXPECT_EQ(LoadError(), "");
}

TEST_F(IdentityTest, DirectoryInPlaceOfAFileIsRefused) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  std::filesystem::remove(static_key_);
  std::filesystem::create_directory(static_key_);
  EXPECT_THAT(LoadError(), AllOf(HasSubstr(static_key_), HasSubstr("not a regular file")));
}

TEST_F(IdentityTest, LinkToAFileIsFollowed) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  std::filesystem::rename(static_key_, root_ + "/elsewhere");
  std::filesystem::create_symlink(root_ + "/elsewhere", static_key_);
  EXPECT_EQ(LoadError(), "");
}

TEST_F(IdentityTest, StaticKeyOfAnotherIdentityIsRefused) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  ASSERT_TRUE(Identity::Create(root_ + "/other").ok());
  Overwrite(static_key_, Slurp(root_ + "/other/static.key"));
  EXPECT_THAT(LoadError(), AllOf(HasSubstr(static_key_), HasSubstr(identity_key_),
                                 HasSubstr("not signed by the identity key")));
}

TEST_F(IdentityTest, PublicKeyThatIsNotOfThePrivateKeyIsRefused) {
  ASSERT_TRUE(Identity::Create(directory_).ok());
  const std::string identity_text = Slurp(identity_key_);
  auto identity = ParseIdentityKeyFile(identity_text);
  ASSERT_TRUE(identity.ok());
  identity->seed.mutable_data()[0] ^= 1U;
  Overwrite(identity_key_, Format(*identity));
  EXPECT_THAT(LoadError(), AllOf(HasSubstr(identity_key_), HasSubstr("does not belong")));
  Overwrite(identity_key_, identity_text);

  auto static_key = ParseStaticKeyFile(Slurp(static_key_));
  ASSERT_TRUE(static_key.ok());
  static_key->private_key.mutable_data()[1] ^= 1U;
  Overwrite(static_key_, Format(*static_key));
  EXPECT_THAT(LoadError(), AllOf(HasSubstr(static_key_), HasSubstr("does not belong")));
}

TEST_F(IdentityTest, PeerKeyParsesOnlyAsItIsPrinted) {
  const auto made = Identity::Create(directory_);
  ASSERT_TRUE(made.ok());
  const std::string text = made->public_key().ToString();
  const auto parsed = PeerKey::Parse(text);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, made->public_key());
  EXPECT_EQ(parsed->node_id(), made->node_id());
  for (size_t length = 0; length < text.size(); ++length) {
    EXPECT_FALSE(PeerKey::Parse(text.substr(0, length)).ok()) << length;
  }
  for (size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(PeerKey::Parse(changed).ok()) << i;
  }
  EXPECT_FALSE(PeerKey::Parse(text + "A").ok());
  EXPECT_FALSE(PeerKey::Parse(" " + text).ok());
  EXPECT_FALSE(PeerKey::Parse("omni1" + Base64Encode(std::vector<uint8_t>(128))).ok());
}

}  // namespace
}  // namespace omni
