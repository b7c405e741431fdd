// SPDX-License-Identifier: Apache-2.0
#include "signal/stun/answer.h"

#include <gtest/gtest.h>

#include "signal/stun/message.h"

namespace omni::stun {
namespace {

const Endpoint kSource4 = *Endpoint::Parse("203.0.113.7:40000");
const Endpoint kSource6 = *Endpoint::Parse("[2001:db8::7]:40000");
const IpAddress kLocal4 = *IpAddress::Parse("198.51.100.1");
const IpAddress kLocal6 = *IpAddress::Parse("2001:db8:f::1");
constexpr ServerPorts kTwo{.first = 51820, .second = 3479};
constexpr ServerPorts kOne{.first = 51820};
constexpr TransactionId kId = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};

std::optional<Answer> Ask(const Message& request, const ServerPorts& ports = kTwo,
                          ServerPort arrived = ServerPort::kFirst) {
  return AnswerRequest(Encode(request), kSource4, kLocal4, arrived, ports);
}

// A request with an attribute of four bytes that nobody knows.
std::vector<uint8_t> WithUnknown(std::vector<uint16_t> types) {
  auto bytes = Encode({.id = kId});
  for (const uint16_t type : types) {
    for (const int byte : {type >> 8, type & 255, 0, 0}) {
      bytes.push_back(static_cast<uint8_t>(byte));
    }
  }
  bytes[2] = static_cast<uint8_t>((bytes.size() - kHeaderBytes) >> 8U);
  bytes[3] = static_cast<uint8_t>(bytes.size() - kHeaderBytes);
  return bytes;
}

TEST(StunAnswer, SaysWhereTheRequestCameFromAndNoMore) {
  const auto answer = Ask({.id = kId});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->from, ServerPort::kFirst);
  EXPECT_EQ(Parse(answer->bytes),
            (Message{.message_class = Class::kSuccess, .id = kId, .xor_mapped = kSource4}));
}

TEST(StunAnswer, IsNoLargerThanTheStandardMakesIt) {
  const auto request = Encode({.id = kId});
  EXPECT_EQ(AnswerRequest(request, kSource4, kLocal4, ServerPort::kFirst, kTwo)->bytes.size(), 32U);
  EXPECT_EQ(AnswerRequest(request, kSource6, kLocal6, ServerPort::kFirst, kTwo)->bytes.size(), 44U);
  std::vector<uint16_t> many;
  for (uint16_t type = 0x1000; type < 0x1100; ++type) many.push_back(type);
  const auto refusal =
      AnswerRequest(WithUnknown(many), kSource4, kLocal4, ServerPort::kFirst, kTwo);
  ASSERT_TRUE(refusal);
  EXPECT_LT(refusal->bytes.size(), 64U);
}

TEST(StunAnswer, FingerprintsWhereTheRequestDoes) {
  const auto answer = Ask({.id = kId, .fingerprint = Fingerprint::kPresent});
  ASSERT_TRUE(answer);
  EXPECT_EQ(Parse(answer->bytes)->fingerprint, Fingerprint::kPresent);
}

TEST(StunAnswer, TellsOfBothPortsWhoAsksWithChangeRequest) {
  for (const ServerPort arrived : {ServerPort::kFirst, ServerPort::kSecond}) {
    const bool first = arrived == ServerPort::kFirst;
    const auto answer = Ask({.id = kId, .change_request = ChangeRequest{}}, kTwo, arrived);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->from, arrived);
    const auto response = Parse(answer->bytes);
    EXPECT_EQ(response->response_origin, (Endpoint{kLocal4, first ? kTwo.first : kTwo.second}));
    EXPECT_EQ(response->other_address, (Endpoint{kLocal4, first ? kTwo.second : kTwo.first}));
  }
}

TEST(StunAnswer, LeavesFromTheOtherPortOnRequest) {
  const auto answer = Ask({.id = kId, .change_request = ChangeRequest{ChangeRequest::kPort}});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->from, ServerPort::kSecond);
  EXPECT_EQ(Parse(answer->bytes)->response_origin, (Endpoint{kLocal4, kTwo.second}));
  EXPECT_EQ(Parse(answer->bytes)->xor_mapped, kSource4);
}

TEST(StunAnswer, RefusesToChangeWhatItHasOnlyOneOf) {
  for (const auto& [flags, ports] : {std::pair(ChangeRequest::kIp, kTwo),
                                     std::pair(ChangeRequest::kIp | ChangeRequest::kPort, kTwo),
                                     std::pair(ChangeRequest::kPort, kOne)}) {
    const auto answer = Ask({.id = kId, .change_request = ChangeRequest{flags}}, ports);
    ASSERT_TRUE(answer);
    EXPECT_EQ(Parse(answer->bytes)->error_code, kErrorUnknownAttribute);
    EXPECT_EQ(Parse(answer->bytes)->unknown_attributes, std::vector<uint16_t>{0x0003});
  }
  const auto plain = Ask({.id = kId, .change_request = ChangeRequest{}}, kOne);
  EXPECT_FALSE(Parse(plain->bytes)->other_address);
}

TEST(StunAnswer, NamesRequiredAttributesThatItDoesNotKnow) {
  const auto answer = AnswerRequest(WithUnknown({0x0024, 0x8029, 0x0025, 0x0024}), kSource4,
                                    kLocal4, ServerPort::kFirst, kTwo);
  ASSERT_TRUE(answer);
  const auto response = Parse(answer->bytes);
  EXPECT_EQ(response->message_class, Class::kError);
  EXPECT_EQ(response->error_code, kErrorUnknownAttribute);
  EXPECT_EQ(response->unknown_attributes, (std::vector<uint16_t>{0x0024, 0x0025}));
  EXPECT_FALSE(response->xor_mapped);
}

TEST(StunAnswer, IsSilentToEverythingElse) {
  EXPECT_FALSE(Ask({.message_class = Class::kIndication, .id = kId}));
  EXPECT_FALSE(Ask({.message_class = Class::kSuccess, .id = kId, .xor_mapped = kSource4}));
  EXPECT_FALSE(Ask({.message_class = Class::kError, .id = kId, .error_code = 420}));
  EXPECT_FALSE(Ask({.method = 0x003, .id = kId}));  // Allocate
  auto bytes = Encode({.id = kId});
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(
        AnswerRequest(std::span(bytes).first(size), kSource4, kLocal4, ServerPort::kFirst, kTwo));
  }
  bytes[5] ^= 1;  // the cookie
  EXPECT_FALSE(AnswerRequest(bytes, kSource4, kLocal4, ServerPort::kFirst, kTwo));
}

// Two servers, one with a forged source of the other: no answer is a request.
TEST(StunAnswer, IsNeverAnswered) {
  const auto answer = Ask({.id = kId});
  EXPECT_FALSE(AnswerRequest(answer->bytes, kSource4, kLocal4, ServerPort::kFirst, kTwo));
  const auto refusal = Ask({.id = kId, .change_request = ChangeRequest{ChangeRequest::kIp}});
  EXPECT_FALSE(AnswerRequest(refusal->bytes, kSource4, kLocal4, ServerPort::kFirst, kTwo));
}

}  // namespace
}  // namespace omni::stun
