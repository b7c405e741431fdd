// SPDX-License-Identifier: Apache-2.0
#include "signal/stun/message.h"

#include <gtest/gtest.h>

#include "common/encoding.h"

namespace omni::stun {
namespace {

constexpr uint16_t kPriority = 0x0024;

// RFC 5769 section 2.1: an ICE request.
constexpr std::string_view kSampleRequest =
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf";
// Sections 2.2 and 2.3: its responses.
constexpr std::string_view kSampleResponse4 =
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96";
constexpr std::string_view kSampleResponse6 =
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c";
// Section 2.4: long-term credentials, no FINGERPRINT.
constexpr std::string_view kSampleLongTerm =
    "000100602112a44278ad3433c6ad72c029da412e"
    "00060012e3839ee38388e383aae38383e382afe382b90000"
    "0015001c662f2f3439396b393534643"
    "64f4c33346f4c39465354767936347341"
    "0014000b6578616d706c652e6f726700"
    "00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";
constexpr TransactionId kSampleId = {0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34,
                                     0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae};

std::vector<uint8_t> Bytes(std::string_view hex) { return HexDecode(hex).value(); }

TEST(StunMessage, ReadsTheSampleRequestOfRfc5769) {
  const auto message = Parse(Bytes(kSampleRequest));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->message_class, Class::kRequest);
  EXPECT_EQ(message->method, kBinding);
  EXPECT_EQ(message->id, kSampleId);
  EXPECT_EQ(message->software, "STUN test client");
  EXPECT_EQ(message->fingerprint, Fingerprint::kPresent);
  EXPECT_EQ(message->not_understood, std::vector<uint16_t>{kPriority});
}

TEST(StunMessage, ReadsTheSampleResponsesOfRfc5769) {
  const auto v4 = Parse(Bytes(kSampleResponse4));
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->message_class, Class::kSuccess);
  EXPECT_EQ(v4->software, "test vector");
  EXPECT_EQ(v4->reflexive(), Endpoint::Parse("192.0.2.1:32853"));
  const auto v6 = Parse(Bytes(kSampleResponse6));
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->reflexive(), Endpoint::Parse("[2001:db8:1234:5678:11:2233:4455:6677]:32853"));
}

TEST(StunMessage, ReadsTheSampleWithLongTermCredentialsOfRfc5769) {
  const auto message = Parse(Bytes(kSampleLongTerm));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->fingerprint, Fingerprint::kAbsent);
  EXPECT_TRUE(message->not_understood.empty());
}

TEST(StunMessage, AddressesOfTheSamplesAreWrittenAsTheyStandThere) {
  Message message{.message_class = Class::kSuccess,
                  .id = kSampleId,
                  .xor_mapped = Endpoint::Parse("192.0.2.1:32853")};
  EXPECT_EQ(HexEncode(Encode(message)),
            "0101000c2112a442b7e7a701bc34d686fa87dfae002000080001a147e112a643");
  message.xor_mapped = Endpoint::Parse("[2001:db8:1234:5678:11:2233:4455:6677]:32853");
  EXPECT_EQ(HexEncode(Encode(message)).substr(40),
            "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9");
}

TEST(StunMessage, EveryFlippedBitBehindTheCookieIsNoticedByTheFingerprint) {
  const auto sample = Bytes(kSampleResponse4);
  int parsed = 0;
  for (size_t bit = 0; bit < sample.size() * 8; ++bit) {
    auto mangled = sample;
    mangled[bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
    const auto message = Parse(mangled);
    if (!message) continue;
    // Only where the flip hid the FINGERPRINT: in its type, or inside a longer attribute before it.
    EXPECT_EQ(message->fingerprint, Fingerprint::kAbsent) << "bit " << bit;
    ++parsed;
  }
  EXPECT_LT(parsed, 24);
}

TEST(StunMessage, EveryTruncationIsNoMessage) {
  for (const auto hex : {kSampleRequest, kSampleResponse4, kSampleResponse6, kSampleLongTerm}) {
    const auto sample = Bytes(hex);
    for (size_t size = 0; size < sample.size(); ++size) {
      EXPECT_FALSE(Parse(std::span(sample).first(size))) << size;
    }
    auto longer = sample;
    longer.resize(sample.size() + 4);
    EXPECT_FALSE(Parse(longer));
  }
}

TEST(StunMessage, WhatIsWrittenIsReadTheSame) {
  const Message whole{.message_class = Class::kError,
                      .method = 0xAB,
                      .id = kSampleId,
                      .mapped = Endpoint::Parse("203.0.113.9:1"),
                      .xor_mapped = Endpoint::Parse("[2001:db8::1]:65535"),
                      .response_origin = Endpoint::Parse("198.51.100.1:3478"),
                      .other_address = Endpoint::Parse("[2001:db8::2]:3479"),
                      .change_request = ChangeRequest{ChangeRequest::kPort},
                      .software = "five.",
                      .error_code = 420,
                      .unknown_attributes = {0x0024, 0x0025, 0x0026},
                      .fingerprint = Fingerprint::kPresent};
  const auto bytes = Encode(whole);
  EXPECT_EQ(bytes.size() % 4, 0U);
  const auto read = Parse(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, whole);
}

TEST(StunMessage, ClassAndMethodDoNotMixUp) {
  for (const Class c : {Class::kRequest, Class::kIndication, Class::kSuccess, Class::kError}) {
    for (uint16_t method = 0; method <= 0xFF; ++method) {
      const auto read = Parse(Encode({.message_class = c, .method = method, .id = kSampleId}));
      ASSERT_TRUE(read);
      ASSERT_EQ(read->message_class, c);
      ASSERT_EQ(read->method, method);
    }
  }
}

TEST(StunMessage, AttributesBehindMessageIntegrityDoNotCount) {
  // XOR-MAPPED-ADDRESS and an unknown required attribute, after MESSAGE-INTEGRITY.
  const auto message =
      Parse(Bytes("0101002c2112a442b7e7a701bc34d686fa87dfae"
                  "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
                  "002000080001a147e112a643"
                  "0024000400000000"));
  ASSERT_TRUE(message);
  EXPECT_FALSE(message->xor_mapped);
  EXPECT_TRUE(message->not_understood.empty());
}

TEST(StunMessage, TheFirstOfTwoAttributesCounts) {
  const auto message =
      Parse(Bytes("010100182112a442b7e7a701bc34d686fa87dfae"
                  "002000080001a147e112a643"
                  "002000080001a147e112a644"));
  ASSERT_TRUE(message);
  EXPECT_EQ(message->xor_mapped, Endpoint::Parse("192.0.2.1:32853"));
}

TEST(StunMessage, MalformedAttributesMakeNoMessage) {
  const std::string head = "2112a442b7e7a701bc34d686fa87dfae";
  for (const std::string_view attributes : {
           "002000080003a147e112a643",  // a family that does not exist
           "002000080002a147e112a643",  // four bytes of IPv6
           "002000080001a147e112a6ff0000",
           "0020000800012112e112a643",  // port 0
           "0003000200020000",          // CHANGE-REQUEST of two bytes
           "0009000400000263",          // error 299
           "0009000400000464"
           "00000000",
           "000a000300240000",          // half an attribute number
           "0020ffff0001a147e112a643",  // longer than the message
           "8028000400000000",          // a wrong FINGERPRINT
       }) {
    std::string length = "00" + HexEncode(std::array{static_cast<uint8_t>(attributes.size() / 2)});
    EXPECT_FALSE(Parse(Bytes("0101" + length + head + std::string(attributes)))) << attributes;
  }
}

TEST(StunMessage, NothingButStunIsTakenForIt) {
  auto bytes = Encode({.id = kSampleId});
  EXPECT_TRUE(IsStun(bytes));
  for (const uint8_t first : {4, 5, 64, 128, 255}) {
    bytes[0] = first;
    EXPECT_FALSE(IsStun(bytes)) << int{first};
  }
  bytes[0] = 0;
  bytes[4] ^= 1;  // of RFC 3489, without the cookie
  EXPECT_FALSE(IsStun(bytes));
  EXPECT_FALSE(Parse(bytes));
  EXPECT_FALSE(IsStun({}));
}

}  // namespace
}  // namespace omni::stun
