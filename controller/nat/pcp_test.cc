// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/pcp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "common/encoding.h"

namespace omni {
namespace {

using std::chrono::seconds;

constexpr PcpNonce kNonce = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
constexpr uint16_t kPort = 51900;  // 0xcabc

std::vector<uint8_t> Bytes(std::string_view hex) {
  std::string text(hex);
  std::erase(text, ' ');
  return HexDecode(text).value();
}

// Success, 3,600 s, 203.0.113.7:40000.
std::vector<uint8_t> Response() {
  return Bytes(
      "02 81 00 00 00000e10 00000001 000000000000000000000000"
      "0102030405060708090a0b0c 11 000000 cabc 9c40 00000000000000000000ffff cb007107");
}

absl::StatusOr<PcpGrant> Read(std::span<const uint8_t> datagram) {
  return ReadPcpMapResponse(datagram, kPort, kNonce);
}

TEST(Pcp, TheRequestIsThatOfTheStandard) {
  const auto request = PcpMapRequest(*IpAddress::Parse("10.0.2.15"), kPort, seconds(7200), kNonce);
  EXPECT_EQ(
      std::vector(request.begin(), request.end()),
      Bytes("02 01 0000 00001c20 00000000000000000000ffff 0a00020f"
            "0102030405060708090a0b0c 11 000000 cabc cabc 00000000000000000000ffff 00000000"));
  const auto back = PcpMapRequest(*IpAddress::Parse("10.0.2.15"), kPort, seconds(0), kNonce);
  EXPECT_EQ(std::vector(back.begin() + 4, back.begin() + 8), Bytes("00000000"));
  EXPECT_EQ(std::vector(back.begin() + 40, back.begin() + 44), Bytes("cabc 0000"));
}

TEST(Pcp, ReadsWhatIsGranted) {
  const auto grant = Read(Response());
  ASSERT_TRUE(grant.ok()) << grant.status();
  EXPECT_EQ(grant->outer.ToString(), "203.0.113.7:40000");
  EXPECT_EQ(grant->lifetime, seconds(3600));
}

TEST(Pcp, ARefusalSaysWhy) {
  auto refused = Response();
  refused[3] = 8;
  const auto answer = Read(refused);
  EXPECT_TRUE(absl::IsUnavailable(answer.status()));
  EXPECT_EQ(answer.status().message(), "PCP: the router has no free port or memory (code 8)");
  refused[3] = 200;
  EXPECT_TRUE(absl::IsUnavailable(Read(refused).status()));
}

TEST(Pcp, ARouterOfAnotherVersionIsToldApart) {
  EXPECT_TRUE(absl::IsUnimplemented(Read(Bytes("00 80 0001 00000001")).status())) << "NAT-PMP";
  auto newer = Response();
  newer[0] = 3;
  newer[3] = 1;
  EXPECT_TRUE(absl::IsUnimplemented(Read(newer).status()));
}

TEST(Pcp, WhatAnswersSomethingElseIsNoAnswer) {
  for (const size_t at : {1, 24, 35, 36, 40, 41}) {
    auto other = Response();
    other[at] ^= 0xff;
    EXPECT_TRUE(absl::IsInvalidArgument(Read(other).status())) << at;
  }
  const auto whole = Response();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Read(std::span(whole).first(size)).ok()) << size;
  }
  auto long_one = whole;
  long_one.resize(kMaxPcpBytes + 1);
  EXPECT_FALSE(Read(long_one).ok());
}

TEST(Pcp, NoPortOfNoMachineIsTaken) {
  for (const char* address :
       {"00000000000000000000ffff 00000000", "00000000000000000000ffff e0000001",
        "20010db8000000000000000000000001"}) {
    auto strange = Response();
    std::ranges::copy(Bytes(address), strange.begin() + 44);
    EXPECT_TRUE(absl::IsUnavailable(Read(strange).status())) << address;
  }
  auto portless = Response();
  portless[42] = portless[43] = 0;
  EXPECT_TRUE(absl::IsUnavailable(Read(portless).status()));
}

}  // namespace
}  // namespace omni
