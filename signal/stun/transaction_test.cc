// SPDX-License-Identifier: Apache-2.0
#include "signal/stun/transaction.h"

#include <gtest/gtest.h>

#include <vector>

namespace omni::stun {
namespace {

const Endpoint kServer = *Endpoint::Parse("198.51.100.1:3478");
const Endpoint kMapped = *Endpoint::Parse("203.0.113.7:40000");
constexpr TransactionId kId = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
constexpr Instant kStart(1000s);

Transaction Make(Timing timing = {}) {
  return Transaction(Message{.id = kId}, kServer, timing, kStart);
}
Message Success() { return {.message_class = Class::kSuccess, .id = kId, .xor_mapped = kMapped}; }

TEST(StunTransaction, RetransmitsAsRfc8489SaysAndGivesUp) {
  Transaction transaction = Make();
  std::vector<Duration> sent;
  while (transaction.NextDeadline()) {
    const Instant now = *transaction.NextDeadline();
    if (transaction.OnTimer(now)) sent.push_back(now - kStart);
    if (transaction.state() == Transaction::State::kTimedOut) {
      EXPECT_EQ(now - kStart, 39500ms);
    }
  }
  EXPECT_EQ(sent, (std::vector<Duration>{0ms, 500ms, 1500ms, 3500ms, 7500ms, 15500ms, 31500ms}));
  EXPECT_EQ(transaction.state(), Transaction::State::kTimedOut);
}

TEST(StunTransaction, ATimerThatComesEarlySendsNothing) {
  Transaction transaction = Make();
  EXPECT_TRUE(transaction.OnTimer(kStart));
  EXPECT_FALSE(transaction.OnTimer(kStart));
  EXPECT_FALSE(transaction.OnTimer(kStart + 499ms));
  EXPECT_TRUE(transaction.OnTimer(kStart + 500ms));
}

TEST(StunTransaction, EndsWithItsResponse) {
  Transaction transaction = Make();
  transaction.OnTimer(kStart);
  const auto response = transaction.OnDatagram(Encode(Success()), kServer, kStart + 30ms);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->reflexive(), kMapped);
  EXPECT_EQ(transaction.rtt(), 30ms);
  EXPECT_FALSE(transaction.NextDeadline());
  EXPECT_FALSE(transaction.OnTimer(kStart + 10s));
  EXPECT_FALSE(transaction.OnDatagram(Encode(Success()), kServer, kStart + 31ms)) << "a duplicate";
}

TEST(StunTransaction, TellsNoRoundTripAfterARetransmission) {
  Transaction transaction = Make();
  transaction.OnTimer(kStart);
  transaction.OnTimer(kStart + 500ms);
  EXPECT_TRUE(transaction.OnDatagram(Encode(Success()), kServer, kStart + 510ms));
  EXPECT_FALSE(transaction.rtt());
}

TEST(StunTransaction, TakesNothingThatIsNotItsResponse) {
  Transaction transaction = Make();
  EXPECT_FALSE(transaction.OnDatagram(Encode(Success()), kServer, kStart)) << "nothing was asked";
  transaction.OnTimer(kStart);
  Message other = Success();
  other.id[11] ^= 1;
  Message request = Success();
  request.message_class = Class::kRequest;
  Message indication = Success();
  indication.message_class = Class::kIndication;
  Message method = Success();
  method.method = 2;
  Message empty = Success();
  empty.xor_mapped.reset();
  Message codeless = Success();
  codeless.message_class = Class::kError;
  for (const Message& wrong : {other, request, indication, method, empty, codeless}) {
    EXPECT_FALSE(transaction.OnDatagram(Encode(wrong), kServer, kStart));
  }
  EXPECT_FALSE(transaction.OnDatagram(Encode(Success()), kMapped, kStart)) << "from elsewhere";
  auto required = Encode(Success());  // with an attribute that must be understood
  required[3] += 4;
  required.insert(required.end(), {0x00, 0x24, 0x00, 0x00});
  EXPECT_FALSE(transaction.OnDatagram(required, kServer, kStart));
  EXPECT_EQ(transaction.state(), Transaction::State::kWaiting);
  EXPECT_TRUE(transaction.OnDatagram(Encode(Success()), kServer, kStart));
}

TEST(StunTransaction, AnErrorIsAResponse) {
  Transaction transaction = Make();
  transaction.OnTimer(kStart);
  const auto response = transaction.OnDatagram(
      Encode({.message_class = Class::kError, .id = kId, .error_code = 420}), kServer, kStart);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->error_code, 420);
}

TEST(StunTransaction, TakesMappedAddressOfAnOldServer) {
  Transaction transaction = Make();
  transaction.OnTimer(kStart);
  const auto response = transaction.OnDatagram(
      Encode({.message_class = Class::kSuccess, .id = kId, .mapped = kMapped}), kServer, kStart);
  ASSERT_TRUE(response);
  EXPECT_EQ(response->reflexive(), kMapped);
}

}  // namespace
}  // namespace omni::stun
