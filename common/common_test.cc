// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "common/byte_order.h"
#include "common/encoding.h"
#include "common/file.h"
#include "common/ip.h"
#include "common/node_id.h"
#include "common/secret.h"

namespace omni {
namespace {

TEST(WireInt, StandsOnTheWireInItsOrder) {
  const Be32 be(0x01020304);
  const Le64 le(0x0102030405060708);
  EXPECT_EQ(reinterpret_cast<const uint8_t*>(&be)[0], 1);
  EXPECT_EQ(reinterpret_cast<const uint8_t*>(&le)[0], 8);
  EXPECT_EQ(be.value(), 0x01020304U);
  EXPECT_EQ(le.value(), 0x0102030405060708U);
}

TEST(IpPrefix, ParsesAndPrintsTheSameText) {
  for (const char* text : {"10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "fd00::/64", "::/0",
                           "2001:db8::1/128", "10.128.0.0/9"}) {
    const auto prefix = IpPrefix::Parse(text);
    ASSERT_TRUE(prefix) << text;
    EXPECT_EQ(prefix->ToString(), text);
  }
}

TEST(IpPrefix, RefusesMalformedText) {
  for (const char* text :
       {"", "/", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8 ",
        "fd00::/129", "10.0.0/8", "fd00::1/64", "a.b.c.d", "10.0.0.0/8/8", "10.0.0.0/"}) {
    EXPECT_FALSE(IpPrefix::Parse(text)) << text;
  }
}

TEST(IpPrefix, ContainsExactlyItsAddresses) {
  const auto prefix = *IpPrefix::Parse("10.128.0.0/9");
  EXPECT_TRUE(prefix.Contains(*IpAddress::Parse("10.255.255.255")));
  EXPECT_FALSE(prefix.Contains(*IpAddress::Parse("10.127.255.255")));
  EXPECT_FALSE(prefix.Contains(*IpAddress::Parse("::1")));
}

TEST(Endpoint, ParsesAndPrintsTheSameText) {
  for (const char* text : {"192.0.2.7:51900", "[2001:db8::7]:1", "[fe80::1%3]:65535"}) {
    const auto endpoint = Endpoint::Parse(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(endpoint->ToString(), text);
    sockaddr_storage storage{};
    endpoint->ToSockaddr(&storage);
    EXPECT_EQ(Endpoint::FromSockaddr(reinterpret_cast<sockaddr*>(&storage)), endpoint);
  }
}

TEST(Endpoint, RefusesMalformedText) {
  for (const char* text :
       {"", ":", "192.0.2.7", "192.0.2.7:0", "192.0.2.7:65536", "2001:db8::7:1", "[192.0.2.7]:1",
        "[::1", "[::1]", "[fe80::1%]:1", "[fe80::1%eth0]:1", "host:1", "192.0.2.7:+1"}) {
    EXPECT_FALSE(Endpoint::Parse(text)) << text;
  }
}

TEST(Endpoint, FoldsMappedIpv6IntoIpv4) {
  EXPECT_EQ(Endpoint::Parse("[::ffff:192.0.2.7]:9")->ToString(), "192.0.2.7:9");
}

TEST(Encoding, DecodesOnlyWhatItEncodes) {
  const std::array<uint8_t, 5> bytes = {0, 1, 0xfe, 0xff, 0x7f};
  EXPECT_EQ(*HexDecode(HexEncode(bytes)), std::vector<uint8_t>(bytes.begin(), bytes.end()));
  EXPECT_EQ(*Base64Decode(Base64Encode(bytes)), std::vector<uint8_t>(bytes.begin(), bytes.end()));
  for (const char* text : {"0", "0g", "AB", "ab "}) EXPECT_FALSE(HexDecode(text)) << text;
  for (const char* text : {"A", "AA==", "A+/A", "AB", "AA "}) {
    EXPECT_FALSE(Base64Decode(text)) << text;
  }
}

TEST(Encoding, NothingIsWrittenAsNothing) {
  EXPECT_EQ(HexDecode(""), std::vector<uint8_t>());
  EXPECT_EQ(Base64Decode(""), std::vector<uint8_t>());
  EXPECT_EQ(HexEncode({}), "");
  EXPECT_EQ(Base64Encode({}), "");
}

TEST(NodeId, IsBoundToTheIdentityKey) {
  std::array<uint8_t, 32> key{};
  const NodeId a = NodeId::FromIdentityKey(key);
  key[0] = 1;
  EXPECT_NE(a, NodeId::FromIdentityKey(key));
  EXPECT_EQ(NodeId::Parse(a.ToString()), a);
  EXPECT_EQ(NodeId::FromBytes(a.ToBytes()), a);
}

TEST(Secret, IsErasedWhenMovedFrom) {
  std::array<uint8_t, 32> bytes{};
  bytes.fill(7);
  Key32 a{bytes};
  const Key32 b = std::move(a);
  EXPECT_TRUE(b == Key32{bytes});
  EXPECT_TRUE(a == Key32{});  // NOLINT(bugprone-use-after-move): that is the point
}

class FileTest : public ::testing::Test {
 protected:
  FileTest() { std::filesystem::create_directory(directory_); }
  ~FileTest() override { std::filesystem::remove_all(directory_); }
  const std::string directory_ =
      std::filesystem::temp_directory_path() / ("omni-file-test-" + std::to_string(getpid()));
  const std::string path_ = directory_ + "/file";
};

TEST_F(FileTest, ReadsBackWhatWasWritten) {
  ASSERT_TRUE(WriteFileAtomically(path_, "hello", 0600, Overwrite::kNo).ok());
  EXPECT_EQ(*ReadFile(path_, 5, FileAccess::kOwnerOnly), "hello");
  ASSERT_TRUE(WriteFileAtomically(path_, "world", 0600, Overwrite::kYes).ok());
  EXPECT_EQ(*ReadFile(path_, 5, FileAccess::kOwnerOnly), "world");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1);
}

TEST_F(FileTest, DoesNotOverwriteUnlessAsked) {
  ASSERT_TRUE(WriteFileAtomically(path_, "hello", 0600, Overwrite::kNo).ok());
  EXPECT_EQ(WriteFileAtomically(path_, "world", 0600, Overwrite::kNo).code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(*ReadFile(path_, 5, FileAccess::kAny), "hello");
}

TEST_F(FileTest, RefusesALargeAWorldReadableAndAnIrregularFile) {
  ASSERT_TRUE(WriteFileAtomically(path_, "hello", 0644, Overwrite::kNo).ok());
  EXPECT_EQ(ReadFile(path_, 4, FileAccess::kAny).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadFile(path_, 5, FileAccess::kOwnerOnly).status().code(),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ReadFile(directory_, 5, FileAccess::kAny).status().code(),
            absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace omni
