// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/private_address.h"

#include <gtest/gtest.h>

namespace omni {
namespace {

TEST(IsPrivate, KnowsTheNetworksBehindNats) {
  for (const char* text : {"10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255",
                           "192.168.1.1", "100.64.0.1", "100.127.255.255", "fd00::1", "fc00::1"}) {
    EXPECT_TRUE(IsPrivate(*IpAddress::Parse(text))) << text;
  }
  for (const char* text : {"9.255.255.255", "11.0.0.0", "172.15.0.1", "172.32.0.1", "192.169.0.1",
                           "100.63.0.1", "100.128.0.1", "198.51.100.1", "2001:db8::1", "fe80::1"}) {
    EXPECT_FALSE(IsPrivate(*IpAddress::Parse(text))) << text;
  }
}

TEST(IsLinkLocal, KnowsThoseOfBothFamilies) {
  for (const char* text : {"169.254.0.1", "169.254.255.254", "fe80::1", "febf::1"}) {
    EXPECT_TRUE(IsLinkLocal(*IpAddress::Parse(text))) << text;
  }
  for (const char* text : {"169.253.0.1", "169.255.0.1", "10.0.0.1", "fec0::1", "fe7f::1"}) {
    EXPECT_FALSE(IsLinkLocal(*IpAddress::Parse(text))) << text;
  }
}

}  // namespace
}  // namespace omni
