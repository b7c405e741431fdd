// SPDX-License-Identifier: Apache-2.0
// STUN at the ports of a Nucleus: the codec and what is answered have tests of their own
// (signal/stun); here it is that they are asked, and asked no more than there is a point to.
#include "signal/stun/message.h"
#include "tests/sim/nucleus_sim.h"

namespace omni {
namespace {

using stun::ServerPort;

const quic::Route kFrom{.remote = *Endpoint::Parse("203.0.113.7:40000"),
                        .local = *IpAddress::Parse("192.0.2.1")};

TEST_F(NucleusSim, BothPortsSayWhereARequestCameFrom) {
  const auto request = stun::Encode({.id = {1, 2, 3}});
  nucleus_.server->OnDatagram(request, kFrom, network_.now());
  nucleus_.server->OnSecondPort(request, kFrom, network_.now());
  ASSERT_EQ(nucleus_.stun_answers.size(), 2U);
  EXPECT_EQ(nucleus_.stun_answers[0].from, ServerPort::kFirst);
  EXPECT_EQ(nucleus_.stun_answers[1].from, ServerPort::kSecond);
  for (const auto& answer : nucleus_.stun_answers) {
    EXPECT_EQ(answer.to, kFrom.remote);
    EXPECT_EQ(stun::Parse(answer.bytes)->xor_mapped, kFrom.remote);
  }
  const auto other = stun::Encode(
      {.id = {4}, .change_request = stun::ChangeRequest{.flags = stun::ChangeRequest::kPort}});
  nucleus_.server->OnDatagram(other, kFrom, network_.now());
  ASSERT_EQ(nucleus_.stun_answers.size(), 3U);
  EXPECT_EQ(nucleus_.stun_answers[2].from, ServerPort::kSecond);
}

TEST_F(NucleusSim, NothingElseIsAnsweredAtEitherPort) {
  std::vector<uint8_t> bytes(64, 0);
  for (int first = 0; first < 256; ++first) {
    bytes[0] = static_cast<uint8_t>(first);
    nucleus_.server->OnDatagram(bytes, kFrom, network_.now());
    nucleus_.server->OnSecondPort(bytes, kFrom, network_.now());
  }
  nucleus_.server->OnSecondPort({}, kFrom, network_.now());
  EXPECT_TRUE(nucleus_.stun_answers.empty());
  EXPECT_EQ(nucleus_.server->counters().stun_answered, 0U);
}

TEST_F(NucleusSim, AllTogetherGetSoManyAnswersASecond) {
  const auto request = stun::Encode({.id = {1}});
  for (int i = 0; i < 50'000; ++i) nucleus_.server->OnDatagram(request, kFrom, network_.now());
  EXPECT_EQ(nucleus_.stun_answers.size(), 20'000U);
  network_.RunFor(1s);
  for (int i = 0; i < 50'000; ++i) nucleus_.server->OnDatagram(request, kFrom, network_.now());
  EXPECT_LE(nucleus_.stun_answers.size(), 40'000U);
  EXPECT_GT(nucleus_.stun_answers.size(), 39'000U);
}

}  // namespace
}  // namespace omni
