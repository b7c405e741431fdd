// SPDX-License-Identifier: Apache-2.0
// Two hosts and the network between them, in memory, on a clock of their own.
#include "signal/quic/host.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <map>
#include <random>
#include <set>

#include "common/encoding.h"
#include "signal/quic/testing.h"

namespace omni::quic {
namespace {

using ::testing::Test;

class QuicTest : public Test {
 protected:
  TestNetwork network_;
  TestIdentity server_identity_;
  TestIdentity client_identity_;
  TestHost server_{network_, server_identity_, "192.0.2.1:1", {.max_accepted = 100}};
  TestHost client_{network_, client_identity_, "192.0.2.2:2", {}};

  ConnectionId Connect(TestHost& client, std::optional<NodeId> expected = std::nullopt) {
    auto id = client.host().Connect(server_.endpoint(), expected, network_.now());
    EXPECT_TRUE(id.ok()) << id.status();
    return *id;
  }
};

TEST_F(QuicTest, BothSidesLearnTheOtherIdentityAndTheSameExportedKey) {
  const ConnectionId id = Connect(client_, server_identity_.get().node_id());
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id) && !server_.peers.empty(); }));
  EXPECT_EQ(client_.peers.at(id), server_identity_.get().public_key().identity_public());
  const auto& [server_id, peer] = *server_.peers.begin();
  EXPECT_EQ(peer, client_identity_.get().public_key().identity_public());
  const auto ours = client_.host().Export(id, "label");
  const auto theirs = server_.host().Export(server_id, "label");
  ASSERT_TRUE(ours.ok() && theirs.ok());
  EXPECT_EQ(*ours, *theirs);
  EXPECT_NE(*ours, *client_.host().Export(id, "another"));
  EXPECT_EQ(server_.host().remote(server_id), client_.endpoint());
}

TEST_F(QuicTest, AnotherIdentityThanTheExpectedOneIsNotTalkedTo) {
  const ConnectionId id = Connect(client_, client_identity_.get().node_id());
  ASSERT_TRUE(network_.RunUntil([&] { return client_.closed.contains(id); }));
  EXPECT_EQ(client_.closed[id].cause, CloseCause::kHandshake);
  EXPECT_NE(client_.closed[id].text.find("is wanted"), std::string::npos);
  network_.RunFor(5s);
  EXPECT_TRUE(server_.messages.empty());
}

TEST_F(QuicTest, AnotherProtocolIsRefused) {
  TestHost other(network_, client_identity_, "192.0.2.3:3", {.protocol = "another/1"});
  const ConnectionId id = Connect(other);
  ASSERT_TRUE(network_.RunUntil([&] { return other.closed.contains(id); }));
  EXPECT_EQ(other.closed[id].cause, CloseCause::kHandshake);
  EXPECT_TRUE(server_.peers.empty());
}

TEST_F(QuicTest, MessagesArriveWholeInOrderAndOnceOverABadNetwork) {
  network_.loss = 0.1;
  network_.reorder = 0.2;
  network_.duplicate = 0.05;
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id); }));
  std::vector<std::string> sent;
  for (int i = 0; i < 300; ++i) {
    sent.push_back(std::to_string(i) + std::string(static_cast<size_t>(i * 7), 'x'));
    while (!client_.host().Send(id, sent.back(), network_.now()).ok()) network_.RunFor(10ms);
  }
  ASSERT_TRUE(network_.RunUntil([&] { return server_.messages.size() == sent.size(); }))
      << server_.messages.size();
  EXPECT_EQ(server_.messages, sent);
  // And back, on the same stream.
  const ConnectionId server_id = server_.peers.begin()->first;
  ASSERT_TRUE(server_.host().Send(server_id, "answer", network_.now()).ok());
  ASSERT_TRUE(network_.RunUntil([&] { return !client_.messages.empty(); }));
  EXPECT_EQ(client_.messages.front(), "answer");
}

TEST_F(QuicTest, ASlowReaderStopsTheSenderAndLetsItGoOnLater) {
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id); }));
  network_.Cut(client_.endpoint());
  const std::string message(10'000, 'x');
  size_t sent = 0;
  while (client_.host().Send(id, message, network_.now()).ok()) ++sent;
  // LIMIT: max_queued_bytes of the host, and the message that reached it.
  EXPECT_LE(sent, size_t{256} * 1024 / message.size() + 1);
  EXPECT_FALSE(client_.writable.contains(id));
  network_.Heal();
  ASSERT_TRUE(network_.RunUntil([&] { return client_.writable.contains(id); }));
  ASSERT_TRUE(network_.RunUntil([&] { return server_.messages.size() == sent; }));
}

TEST_F(QuicTest, AnIdleConnectionStaysAndADeadOneIsNoticed) {
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id) && !server_.peers.empty(); }));
  network_.RunFor(600s);
  EXPECT_EQ(client_.host().connections(), 1U);
  EXPECT_EQ(server_.host().connections(), 1U);
  network_.Cut(server_.endpoint());
  network_.RunFor(120s);
  EXPECT_EQ(client_.closed.at(id).cause, CloseCause::kIdle);
  EXPECT_EQ(server_.host().connections(), 0U);
}

TEST_F(QuicTest, NobodyThereEndsInAFailedHandshake) {
  network_.Cut(server_.endpoint());
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.closed.contains(id); }));
  EXPECT_EQ(client_.closed[id].cause, CloseCause::kHandshake);
}

TEST_F(QuicTest, CloseCarriesItsCodeAndReason) {
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id) && !server_.peers.empty(); }));
  server_.host().Close(server_.peers.begin()->first, 7, "enough\n", network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return client_.closed.contains(id); }));
  EXPECT_EQ(client_.closed[id].cause, CloseCause::kPeer);
  EXPECT_EQ(client_.closed[id].code, 7U);
  EXPECT_EQ(client_.closed[id].text, "enough?");
}

TEST_F(QuicTest, ARestartedServerSaysThatItHasForgotten) {
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id); }));
  network_.RunFor(1s);  // until the server has confirmed the handshake
  server_.Restart();
  ASSERT_TRUE(client_.host().Send(id, "are you there?", network_.now()).ok());
  const Instant before = network_.now();
  ASSERT_TRUE(network_.RunUntil([&] { return client_.closed.contains(id); }));
  EXPECT_EQ(client_.closed[id].cause, CloseCause::kReset);
  EXPECT_LT(network_.now() - before, 5s);
  EXPECT_EQ(server_.host().counters().resets, 1U);
}

TEST_F(QuicTest, AClientThatMovesKeepsItsConnection) {
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id) && !server_.peers.empty(); }));
  client_.MoveTo("[2001:db8::9]:9");
  ASSERT_TRUE(client_.host().Send(id, "from elsewhere", network_.now()).ok());
  ASSERT_TRUE(network_.RunUntil([&] { return !server_.moved.empty(); }));
  EXPECT_EQ(server_.moved.begin()->second, client_.endpoint());
  EXPECT_EQ(server_.messages, std::vector<std::string>{"from elsewhere"});
  EXPECT_EQ(server_.host().counters().handshakes, 1U);
}

TEST_F(QuicTest, ManyAtOnceHaveToShowTheirAddressAndAllComeIn) {
  std::vector<std::unique_ptr<TestHost>> clients;
  std::vector<ConnectionId> ids;
  TestHost server(network_, server_identity_, "192.0.2.7:7",
                  {.max_accepted = 100, .retry_from = 2});
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<TestHost>(network_, client_identity_,
                                                 "198.51.100.1:" + std::to_string(1000 + i),
                                                 TestHost::Options{}));
    ids.push_back(*clients.back()->host().Connect(server.endpoint(), std::nullopt, network_.now()));
  }
  ASSERT_TRUE(network_.RunUntil([&] {
    return std::ranges::all_of(clients, [&](const auto& c) { return !c->peers.empty(); });
  }));
  EXPECT_GE(server.host().counters().retries, 10U);
}

TEST_F(QuicTest, BeyondItsLimitClientsAreRefused) {
  TestHost server(network_, server_identity_, "192.0.2.7:7", {.max_accepted = 1});
  const auto first = client_.host().Connect(server.endpoint(), std::nullopt, network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(*first); }));
  const auto second = client_.host().Connect(server.endpoint(), std::nullopt, network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return client_.closed.contains(*second); }));
  EXPECT_GT(server.host().counters().refused, 0U);
  EXPECT_EQ(server.host().connections(), 1U);
}

TEST_F(QuicTest, AHostThatTakesNoConnectionsSaysNothingToStrangers) {
  const auto id = server_.host().Connect(client_.endpoint(), std::nullopt, network_.now());
  ASSERT_TRUE(id.ok());
  const size_t before = client_.datagrams_sent;
  network_.RunFor(3s);
  EXPECT_EQ(client_.datagrams_sent, before);
  EXPECT_GT(client_.host().counters().unknown, 0U);
}

TEST_F(QuicTest, AMessageBeyondTheLimitEndsTheConnection) {
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id); }));
  ASSERT_TRUE(client_.host().Send(id, std::string(65'537, 'x'), network_.now()).ok());
  ASSERT_TRUE(network_.RunUntil([&] { return client_.closed.contains(id); }));
  EXPECT_EQ(server_.host().connections(), 0U);
  EXPECT_TRUE(server_.messages.empty());
}

TEST_F(QuicTest, NoDatagramIsLargerThanEveryPathCarriesAndNoAnswerToAStrangerThanItsQuestion) {
  const ConnectionId id = Connect(client_);
  ASSERT_TRUE(network_.RunUntil([&] { return client_.connected(id); }));
  ASSERT_TRUE(client_.host().Send(id, std::string(50'000, 'x'), network_.now()).ok());
  ASSERT_TRUE(network_.RunUntil([&] { return !server_.messages.empty(); }));
  EXPECT_LE(network_.largest, 1200U);
  // A client that never comes back gets no more than three times what it sent (RFC 9000, 8.1).
  TestHost ghost(network_, client_identity_, "192.0.2.3:3", {});
  ASSERT_TRUE(ghost.host().Connect(server_.endpoint(), std::nullopt, network_.now()).ok());
  network_.DeliverOne(server_.endpoint());
  network_.Cut(ghost.endpoint());
  const size_t got = network_.bytes_to[server_.endpoint()] - network_.delivered_before;
  network_.RunFor(30s);
  EXPECT_LE(network_.bytes_to[ghost.endpoint()], 3 * got);
}

TEST(QuicCid, OnlyOursCarryTheMac) {
  const QuicCidKey key{1};
  std::vector<uint8_t> short_header(64, 0);
  short_header[0] = 0x40;
  EXPECT_FALSE(HasQuicCidOf(short_header, key));
  const QuicCid cid = NewQuicCid(key);
  std::ranges::copy(cid, short_header.begin() + 1);
  EXPECT_TRUE(HasQuicCidOf(short_header, key));
  EXPECT_FALSE(HasQuicCidOf(short_header, QuicCidKey{2}));
  EXPECT_FALSE(HasQuicCidOf(std::span(short_header).first(16), key));
  std::vector<uint8_t> long_header(64, 0);
  long_header[0] = 0xc0;
  long_header[5] = kQuicCidBytes;
  std::ranges::copy(cid, long_header.begin() + 6);
  EXPECT_TRUE(HasQuicCidOf(long_header, key));
  long_header[5] = 8;
  EXPECT_FALSE(HasQuicCidOf(long_header, key));
}

}  // namespace
}  // namespace omni::quic
