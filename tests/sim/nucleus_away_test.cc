// SPDX-License-Identifier: Apache-2.0
// A Nucleus that is not there, or not where it is looked for: what a node says of it, and that
// waiting costs nothing, however long it takes.
#include <malloc.h>

#include "tests/sim/nucleus_sim.h"
#if defined(__SANITIZE_ADDRESS__)
// Of the runtime; GCC has no header for it.
extern "C" size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace omni {
namespace {

// Bytes that are allocated, by whatever library.
size_t HeapBytes() {
#if defined(__SANITIZE_ADDRESS__)
  return __sanitizer_get_current_allocated_bytes();
#else
  return mallinfo2().uordblks;
#endif
}

class NucleusAway : public NucleusSim {
 protected:
  // What a node does meanwhile: it is called, moves, tries to reach others through the Nucleus.
  void Live(ClientNode& node, int minutes) {
    const NodeId other = node.names.begin()->first;
    for (int i = 0; i < minutes; ++i) {
      const int which = i % 2;
      node.Change([&](auto& self) {
        self.hosts = {*Endpoint::Parse(which == 0 ? "198.51.100.77:51900" : "10.1.2.3:51900")};
      });
      for (uint64_t n = 0; n < 100; ++n) {
        const std::array<uint64_t, 2> channels = {n, n + 1};
        node.client->Call(other, network_.now());
        node.client->OpenRelay(other, channels, kMaxOpenSeconds, network_.now());
        node.client->SendHandshake(other, std::array<uint8_t, 144>{5}, network_.now());
      }
      network_.RunFor(60s);
    }
    // Between two tries, and nothing is on its way.
    ASSERT_TRUE(
        network_.RunUntil([&] { return node.client->view().state == NucleusState::kWaiting; }));
    network_.RunFor(100ms);
  }
};

TEST_F(NucleusAway, AnHourWithoutItCostsNoMemory) {
  ClientNode& node = AddStarted(1);
  node.addresses.push_back(*Endpoint::Parse("[2001:db8::9]:51900"));  // is not there, either
  for (int i = 2; i <= 20; ++i) AddStarted(i);
  ASSERT_TRUE(network_.RunUntil([&] { return node.known.size() == 19; }));
  // The others leave, so that what grows is the node's.
  nucleus_.Kill();
  nodes_.resize(1);
  Live(node, 10);
  const size_t before = HeapBytes();
  Live(node, 60);
  const size_t after = HeapBytes();
  // LIMIT: rounding of the allocator; an hour has at least 60 tries and 18,000 messages.
  EXPECT_LT(after, before + 4096) << "it was " << before;
  EXPECT_EQ(node.client->view().nodes, 19U);
  EXPECT_EQ(node.client->view().connections, 1U);
  nucleus_.Start();
  node.addresses.pop_back();
  ASSERT_TRUE(network_.RunUntil([&] { return node.registered(); }));
  EXPECT_EQ(node.client->view().connections, 2U);
}

TEST_F(NucleusAway, EachAddressIsTriedAndNamedWhenNoneAnswers) {
  ClientNode& node = Add(1);
  node.addresses = {*Endpoint::Parse("192.0.2.66:1"), *Endpoint::Parse("[2001:db8::66]:2"),
                    *Endpoint::Parse("192.0.2.67:3")};
  node.Start();
  ASSERT_TRUE(network_.RunUntil([&] {
    return node.client->view().state == NucleusState::kWaiting &&
           !node.client->view().last_error.empty();
  }));
  EXPECT_EQ(node.client->view().last_error,
            "[2001:db8::66]:2: no answer; 192.0.2.66:1: no answer; 192.0.2.67:3: no answer");
  EXPECT_TRUE(node.client->view().next_try.has_value());
  // Names lead elsewhere by now.
  node.addresses = nucleus_.endpoints;
  ASSERT_TRUE(network_.RunUntil([&] { return node.registered(); }));
  EXPECT_EQ(node.client->view().last_error, "");
}

TEST_F(NucleusAway, ANameWithAThousandAddressesIsTriedInPart) {
  ClientNode& node = Add(1);
  node.addresses.clear();
  for (int i = 0; i < 1000; ++i) {
    node.addresses.push_back(*Endpoint::Parse("192.0.2.66:" + std::to_string(1000 + i)));
  }
  node.Start();
  ASSERT_TRUE(network_.RunUntil([&] {
    return node.client->view().state == NucleusState::kWaiting &&
           !node.client->view().last_error.empty();
  }));
  const std::string error = node.client->view().last_error;
  EXPECT_NE(error.find("; 24 more"), std::string::npos) << error;
}

TEST_F(NucleusAway, ANameThatDoesNotResolveIsSaidSoAndTriedAgain) {
  ClientNode& node = Add(1);
  node.resolves = false;
  node.Start();
  network_.RunFor(1s);
  node.client->OnResolved(absl::UnavailableError("resolve nucleus.example: Host not found"),
                          network_.now());
  EXPECT_EQ(node.client->view().state, NucleusState::kWaiting);
  EXPECT_EQ(node.client->view().last_error, "resolve nucleus.example: Host not found");
  node.resolves = true;
  ASSERT_TRUE(network_.RunUntil([&] { return node.registered(); }));
}

TEST_F(NucleusAway, AResolverThatNeverAnswersIsNotWaitedForEver) {
  ClientNode& node = Add(1);
  node.resolves = false;
  node.Start();
  network_.RunFor(20s);
  EXPECT_EQ(node.client->view().last_error, "its name is not resolved in time");
  node.resolves = true;
  ASSERT_TRUE(network_.RunUntil([&] { return node.registered(); }));
}

TEST_F(NucleusAway, ANodeThatLeavesIsGoneAtOnceAndComesBackWhenItWants) {
  ClientNode& a = AddStarted(1);
  AddStarted(2);
  ASSERT_TRUE(network_.RunUntil([&] { return a.Knows("n2"); }));
  a.client->Suspend(network_.now());
  network_.RunFor(1s);
  EXPECT_EQ(nucleus_.server->connections(), 1U);
  EXPECT_EQ(a.client->view().state, NucleusState::kWaiting);
  a.client->Call(a.names.begin()->first, network_.now());
  network_.RunFor(3600s);
  EXPECT_EQ(a.client->view().connections, 1U);
  EXPECT_TRUE(a.Knows("n2"));
  a.client->SetOnline(network_.now());
  ASSERT_TRUE(network_.RunUntil([&] { return a.registered(); }));
}

}  // namespace
}  // namespace omni
