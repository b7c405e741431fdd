// SPDX-License-Identifier: Apache-2.0
#include "signal/record/allocation.h"

#include <gtest/gtest.h>

#include "common/encoding.h"

namespace omni {
namespace {

namespace pb = signal::v1;

pb::Allocated Message(std::initializer_list<const char*> texts) {
  std::vector<InterfaceAddress> addresses;
  for (const char* text : texts) addresses.push_back(*InterfaceAddress::Parse(text));
  return AllocatedMessage(addresses);
}

TEST(Allocation, AnAddressOfEachFamilyIsTaken) {
  const auto read = ReadAllocated(Message({"10.77.0.9/16", "fd77::9/64"}));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 2U);
  EXPECT_EQ((*read)[0].ToString(), "10.77.0.9/16");
  EXPECT_EQ((*read)[1].ToString(), "fd77::9/64");
  EXPECT_TRUE(ReadAllocated(Message({}))->empty());
}

TEST(Allocation, ANetworkThatIsNotPrivateIsRefused) {
  for (const char* text :
       {"192.0.2.9/24", "8.8.8.8/32", "10.1.2.3/7", "172.16.0.1/11", "192.168.0.1/15",
        "100.64.0.1/9", "0.0.0.0/0", "127.0.0.1/8", "169.254.1.1/16", "224.0.0.1/24",
        "2001:db8::1/64", "fe80::1/64", "::1/128", "fd00::1/6", "::/0"}) {
    EXPECT_FALSE(ReadAllocated(Message({text})).ok()) << text;
  }
}

TEST(Allocation, ANetworksOwnAddressesAreRefused) {
  for (const char* text : {"10.77.0.0/24", "10.77.0.255/24", "10.77.0.8/30", "10.77.0.11/30",
                           "fd77::/64", "10.77.0.1/32"}) {
    EXPECT_FALSE(ReadAllocated(Message({text})).ok()) << text;
  }
  EXPECT_TRUE(ReadAllocated(Message({"10.77.0.255/16"})).ok());
}

TEST(Allocation, TwoOfAFamilyAreRefused) {
  EXPECT_FALSE(ReadAllocated(Message({"10.77.0.9/16", "10.78.0.9/16"})).ok());
}

TEST(Allocation, WhatIsNoAddressIsRefused) {
  pb::Allocated message = Message({"10.77.0.9/16"});
  message.mutable_addresses(0)->set_address("abc");
  EXPECT_FALSE(ReadAllocated(message).ok());
  message = Message({"10.77.0.9/16"});
  message.mutable_addresses(0)->set_length(33);
  EXPECT_FALSE(ReadAllocated(message).ok());
}

TEST(Allocation, WishesAreAddressesAndFew) {
  pb::Allocate message;
  for (int i = 0; i < 16; ++i) message.add_wanted("\x0a\x4d\x01\x09");
  ASSERT_TRUE(ReadWanted(message).ok());
  EXPECT_EQ(ReadWanted(message)->front().ToString(), "10.77.1.9");
  message.add_wanted("\x0a\x4d\x01\x09");
  EXPECT_FALSE(ReadWanted(message).ok());
  message.Clear();
  message.add_wanted("12345");
  EXPECT_FALSE(ReadWanted(message).ok());
}

}  // namespace
}  // namespace omni
