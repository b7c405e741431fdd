// SPDX-License-Identifier: Apache-2.0
// Virtual addresses that a Nucleus gives, and what becomes of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "common/identity/cluster.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

const ClusterKeys& SomeCluster() {
  static const ClusterKeys keys = *ClusterKeys::Derive("correct horse battery staple");
  return keys;
}

std::vector<InterfaceAddress> Given(std::initializer_list<const char*> texts) {
  std::vector<InterfaceAddress> out;
  for (const char* text : texts) out.push_back(*InterfaceAddress::Parse(text));
  return out;
}

class OwnAddressesTest : public ::testing::Test {
 protected:
  OwnAddressesTest() {
    a_.SetNucleus(SomeCluster());
    a_.config.addresses.clear();
    a_.config.auto_addresses = true;
  }
  void Start() {
    ASSERT_TRUE(a_.StartController().ok());
    a_.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
  }
  NodeRecord RecordOf(const TestNode& node) const {
    return {.cluster = {},
            .key = node.identity.public_key(),
            .sequence = 1,
            .name = node.config.name,
            .addresses = {node.config.addresses[0].address},
            .routes = {},
            .candidates = {},
            .capabilities = {}};
  }
  std::string File() const { return a_.directory.path() + "/nucleus-addresses.bin"; }
  std::vector<std::string> Addresses() const {
    std::vector<std::string> out;
    for (const auto& own : a_.controller->config().addresses) out.push_back(own.ToString());
    return out;
  }

  // To the dataplane, last.
  int AddressesTold() const {
    int told = -1;
    for (const auto& request : a_.dataplane.applied) {
      if (request.has_full()) told = request.full().node().addresses_size();
      if (request.delta().has_node()) told = request.delta().node().addresses_size();
    }
    return told;
  }

  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
};

TEST_F(OwnAddressesTest, WhatIsGivenIsUsedToldAndKept) {
  Start();
  EXPECT_TRUE(Addresses().empty());
  a_.controller->OnRecord(RecordOf(b_));
  EXPECT_EQ(a_.controller->peers().Find("b"), nullptr);  // in no network of ours, yet
  ASSERT_TRUE(a_.controller->OnAllocated(Given({"10.77.0.1/24", "fd77::1/64"})).ok());
  ASSERT_TRUE(loop_.RunUntil([&] { return AddressesTold() == 2; }));
  EXPECT_NE(a_.controller->peers().Find("b"), nullptr);
  ASSERT_TRUE(a_.StartController().ok());  // another process, without its Nucleus
  EXPECT_EQ(Addresses(), (std::vector<std::string>{"10.77.0.1/24", "fd77::1/64"}));
}

TEST_F(OwnAddressesTest, ANetworkThatTheMachineLiesInIsRefused) {
  a_.interfaces = {*IpAddress::Parse("10.77.3.4")};
  Start();
  const absl::Status status = a_.controller->OnAllocated(Given({"10.77.0.1/16"}));
  EXPECT_THAT(status.ToString(), HasSubstr("10.77.3.4 lies in that network"));
  EXPECT_TRUE(Addresses().empty());
  EXPECT_FALSE(std::filesystem::exists(File()));
}

TEST_F(OwnAddressesTest, TheAddressOfAConfiguredPeerIsRefused) {
  a_.AddToConfig(b_.Spec());
  Start();
  const absl::Status status = a_.controller->OnAllocated(Given({"10.77.0.2/24"}));
  EXPECT_THAT(status.ToString(), HasSubstr("belongs to the peer \"b\""));
  EXPECT_TRUE(Addresses().empty());
}

TEST_F(OwnAddressesTest, OneThatIsLostIsNotUsedAnyMore) {
  Start();
  ASSERT_TRUE(a_.controller->OnAllocated(Given({"10.77.0.1/24"})).ok());
  ASSERT_TRUE(a_.controller->OnAllocated({}).ok());
  EXPECT_TRUE(Addresses().empty());
  EXPECT_FALSE(std::filesystem::exists(File()));
  ASSERT_TRUE(loop_.RunUntil([&] { return AddressesTold() == 0; }));
}

TEST_F(OwnAddressesTest, WhatIsReleasedIsGoneUntilAReload) {
  Start();
  ASSERT_TRUE(a_.controller->OnAllocated(Given({"10.77.0.1/24"})).ok());
  ASSERT_TRUE(a_.controller->ReleaseAddresses().ok());
  EXPECT_TRUE(Addresses().empty());
  EXPECT_EQ(a_.controller->address_source(), AddressSource::kReleasing);
  ASSERT_TRUE(a_.controller->OnAllocated(Given({"10.77.0.9/24"})).ok());  // too late
  EXPECT_TRUE(Addresses().empty());
  ASSERT_TRUE(a_.controller->OnAllocated({}).ok());
  EXPECT_EQ(a_.controller->address_source(), AddressSource::kConfigured);
}

TEST_F(OwnAddressesTest, ConfiguredOnesAreNotReleasedAndEndALease) {
  Start();
  ASSERT_TRUE(a_.controller->OnAllocated(Given({"10.77.0.1/24"})).ok());
  a_.config.auto_addresses = false;
  a_.config.addresses = Given({"10.77.0.7/24"});
  ASSERT_TRUE(a_.StartController().ok());
  EXPECT_EQ(a_.controller->address_source(), AddressSource::kReleasing);
  EXPECT_EQ(Addresses(), std::vector<std::string>{"10.77.0.7/24"});
  EXPECT_EQ(a_.controller->ReleaseAddresses().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(a_.controller->OnAllocated({}).ok());
  EXPECT_EQ(Addresses(), std::vector<std::string>{"10.77.0.7/24"});
  EXPECT_FALSE(std::filesystem::exists(File()));
}

TEST_F(OwnAddressesTest, AFileThatHoldsNoSoundAddressIsLeftOut) {
  for (const std::string& content :
       {std::string("garbage"), std::string("\x0a\x08\x0a\x04\x08\x08\x08\x08\x10\x18", 10)}) {
    std::ofstream(File()) << content;
    ASSERT_EQ(chmod(File().c_str(), 0600), 0);
    ASSERT_TRUE(a_.StartController().ok());
    EXPECT_TRUE(Addresses().empty());
    EXPECT_EQ(a_.controller->address_source(), AddressSource::kAllocated);
  }
}

TEST_F(OwnAddressesTest, WithoutANucleusWhatWasGivenIsKeptAndWhoHasNothingSaysSo) {
  a_.config.nucleus.addresses.clear();
  a_.config.beacons = true;
  Start();
  EXPECT_THAT(a_.controller->AddressTrouble(), HasSubstr("it needs a Nucleus"));
  EXPECT_FALSE(a_.controller->nucleus_view());
  ASSERT_TRUE(a_.controller->OnAllocated(Given({"10.77.0.1/24"})).ok());  // while there was one
  Start();
  EXPECT_EQ(Addresses(), std::vector<std::string>{"10.77.0.1/24"});
  EXPECT_EQ(a_.controller->AddressTrouble(), "");
}

}  // namespace
}  // namespace omni
