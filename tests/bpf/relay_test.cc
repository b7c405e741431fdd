// SPDX-License-Identifier: Apache-2.0
// Session data of one peer for another at XDP: what leaves is what a relay may send, to the byte;
// what may not go is dropped for the reasons that user space has; all else is left as it is.
#include <random>

#include "tests/bpf/relay_fixture.h"

namespace omni::bpf_testing {
namespace {

using Relay = RelayTest;

// As after many hops, with the label of a flow.
Bytes Worn(Bytes frame, int family) {
  if (family == 6) {
    frame[kEthernet + 1] |= 0x0a;
    frame[kEthernet + 2] = frame[kEthernet + 3] = 0xbc;
    frame[kEthernet + 7] = 3;
    return frame;
  }
  frame[kEthernet + 8] = 3;
  frame[kEthernet + 10] = frame[kEthernet + 11] = 0;
  const uint32_t sum = ~Sum(std::span(frame).subspan(kEthernet, 20)) & 0xffff;
  frame[kEthernet + 10] = static_cast<uint8_t>(sum >> 8U);
  frame[kEthernet + 11] = static_cast<uint8_t>(sum);
  return frame;
}

TEST_P(Relay, SendsOnExactlyWhatItShould) {
  uint64_t counter = 0;
  uint64_t bytes = 0;
  for (const size_t size : {32, 33, 34, 35, 63, 255, 256, 257, 300, 511, 767, 1399, 1400, 1452}) {
    for (const uint8_t traffic_class : {0, 2, 0x2e << 2, 0xff}) {
      for (const Checksum kind : {Checksum::kRight, Checksum::kUnfinished, Checksum::kNone}) {
        if (kind == Checksum::kNone && family() == 6) continue;
        SCOPED_TRACE(testing::Message() << size << " bytes, class " << int{traffic_class}
                                        << ", checksum " << static_cast<int>(kind));
        const Bytes payload = Data(counter++, size);
        const Frame frame{.family = family(), .traffic_class = traffic_class};
        const Result out = Run(Worn(FrameOf(frame, payload, kind), family()));
        EXPECT_EQ(out.action, static_cast<uint32_t>(XDP_TX));
        EXPECT_EQ(out.frame, Relayed(family(), traffic_class, payload,
                                     kind == Checksum::kNone ? kind : Checksum::kRight));
        bytes += size;
      }
    }
  }
  EXPECT_EQ(count(OMNI_STEER_xdp_relayed), counter);
  EXPECT_EQ(count(OMNI_STEER_xdp_relayed_bytes), bytes);
  EXPECT_EQ(count(OMNI_STEER_xdp_passed), 0U);
}

// A checksum of 0xffff, and of what follows it, where one's complement has two zeros.
TEST_P(Relay, FinishesChecksumsOfAnyValue) {
  std::mt19937_64 random(7);
  for (uint64_t counter = 0; counter < 70'000; counter += 1) {
    // One word of the payload goes through all values there are.
    Bytes payload = Data(counter, 40);
    payload[34] = static_cast<uint8_t>(counter >> 8U);
    payload[35] = static_cast<uint8_t>(counter);
    const Result out = Run(FrameOf({.family = family()}, payload));
    ASSERT_EQ(out.action, static_cast<uint32_t>(XDP_TX));
    const std::span udp = std::span(out.frame).subspan(UdpAt(family()));
    ASSERT_EQ(Sum(udp, PseudoSum(out.frame, family())), 0xffffU) << counter;
    ASSERT_NE(udp[6] << 8U | udp[7], 0) << counter;
  }
}

TEST_P(Relay, AWrongChecksumStaysWrong) {
  Bytes frame = Plain(0);
  frame.back() ^= 1;
  const Result out = Run(frame);
  EXPECT_EQ(out.action, static_cast<uint32_t>(XDP_TX));
  EXPECT_NE(Sum(std::span(out.frame).subspan(UdpAt(family())), PseudoSum(out.frame, family())),
            0xffffU);
}

TEST_P(Relay, SendsByAnotherInterface) {
  entry_.interface = 7;
  Put();
  EXPECT_EQ(Run(Plain(0)).action, static_cast<uint32_t>(XDP_REDIRECT));
  entry_.interface = kLoopback;
  entry_.redirects = 1;
  Put();
  EXPECT_EQ(Run(Plain(1)).action, static_cast<uint32_t>(XDP_REDIRECT)) << "a veth";
}

TEST_P(Relay, OnlyFromWhereTheSenderIs) {
  const auto from = [&](Frame frame) {
    frame.family = family();
    return FrameOf(frame, Data(0));
  };
  ExpectDropped(from({.source_end = 2}), OMNI_DROP_rx_relay_source, "another address");
  ExpectDropped(from({.from_port = kPeerPort + 1}), OMNI_DROP_rx_relay_source, "another port");
  entry_.from_family = family() == 4 ? 6 : 4;
  Put();
  ExpectDropped(Plain(0), OMNI_DROP_rx_relay_source, "another family");
  entry_.from_family = static_cast<uint8_t>(family());
  Put();
  EXPECT_TRUE(Sends(0)) << "and none of them used the counter up";
}

TEST_P(Relay, EachCounterOnce) {
  EXPECT_TRUE(Sends(5000));
  ExpectDropped(Plain(5000), OMNI_DROP_rx_relay_replayed, "a replay");
  ExpectDropped(Plain(5000, 900), OMNI_DROP_rx_relay_replayed, "a replay of another size");
  EXPECT_TRUE(Sends(5000 - 2047));
  ExpectDropped(Plain(5000 - 2048), OMNI_DROP_rx_relay_replayed, "an old one");
  ExpectDropped(Plain(~uint64_t{0}), OMNI_DROP_rx_relay_replayed, "the one that is none");
  EXPECT_TRUE(Sends(~uint64_t{0} - 1));
}

TEST_P(Relay, AnotherAddressOrTimeForgetsNoCounter) {
  EXPECT_TRUE(Sends(1));
  entry_.from_port = htons(kPeerPort + 1);
  entry_.expires += 1'000'000'000;
  Put();
  ExpectDropped(Plain(2), OMNI_DROP_rx_relay_source, "from where it was");
  const auto moved = [&](uint64_t counter) {
    return FrameOf({.family = family(), .from_port = kPeerPort + 1}, Data(counter));
  };
  ExpectDropped(moved(1), OMNI_DROP_rx_relay_replayed, "a replay from the new address");
  EXPECT_EQ(Run(moved(2)).action, static_cast<uint32_t>(XDP_TX));
  // Away for a while, and back.
  steer_->RemoveRelay(kChannel);
  ExpectUntouched(moved(3), "while user space has it");
  Put();
  ExpectDropped(moved(2), OMNI_DROP_rx_relay_replayed, "a replay after that");
  // The channel of somebody else that has got the same id.
  steer_->RemoveRelay(kChannel);
  steer_->RemoveRelayWindow(kChannel);
  ASSERT_TRUE(steer_->AddRelayWindow(kChannel));
  Put();
  EXPECT_EQ(Run(moved(2)).action, static_cast<uint32_t>(XDP_TX));
}

TEST_P(Relay, APairHasItsQuotaWhichReplaysDoNotSpend) {
  entry_.pair_bytes_per_s = 1'000'000;
  Put();
  EXPECT_TRUE(Sends(0, 1000));
  for (int i = 0; i < 1000; ++i) Run(Plain(0, 1000));
  uint64_t sent = 1;
  const Instant begun = Now();
  for (uint64_t counter = 1; counter <= 1000; ++counter) sent += Sends(counter, 1000) ? 1 : 0;
  // A quarter of a second's, and what came in meanwhile.
  const double elapsed = std::chrono::duration<double>(Now() - begun).count();
  EXPECT_GE(sent, 250U);
  EXPECT_LE(static_cast<double>(sent), 252 + 1100 * elapsed);
  EXPECT_EQ(drops(OMNI_DROP_rx_relay_quota), 1001 - sent);
  // More of it, at once; another pair has another one.
  entry_.pair = 2;
  Put();
  EXPECT_TRUE(Sends(2000, 1000));
  entry_.pair_bytes_per_s = 0;
  Put();
  ExpectDropped(Plain(2001), OMNI_DROP_rx_relay_quota, "nothing at all");
}

TEST_P(Relay, AllPairsTogetherHaveAQuota) {
  entry_.total_bytes_per_s = 1'000'000;
  uint64_t sent = 0;
  const Instant begun = Now();
  for (uint64_t counter = 0; counter < 1000; ++counter) {
    entry_.pair = static_cast<uint32_t>(1 + counter);
    Put();
    sent += Sends(counter, 1000) ? 1 : 0;
  }
  const double elapsed = std::chrono::duration<double>(Now() - begun).count();
  EXPECT_GE(sent, 250U);
  EXPECT_LE(static_cast<double>(sent), 252 + 1100 * elapsed);
  EXPECT_EQ(drops(OMNI_DROP_rx_relay_quota), 1000 - sent);
}

// A slow pair may send a super-packet at once all the same.
TEST_P(Relay, AQuotaHoldsASuperPacket) {
  entry_.pair_bytes_per_s = 1000;
  Put();
  uint64_t sent = 0;
  const Instant begun = Now();
  for (uint64_t counter = 0; counter < 100; ++counter) sent += Sends(counter, 1000) ? 1 : 0;
  EXPECT_GE(sent, 65U);
  EXPECT_LE(static_cast<double>(sent), 66 + std::chrono::duration<double>(Now() - begun).count());
}

TEST_P(Relay, EndsInTime) {
  entry_.expires = static_cast<uint64_t>(Now().time_since_epoch().count());
  Put();
  ExpectDropped(Plain(0), OMNI_DROP_rx_unknown_channel, "after its time");
  entry_.expires += 3'600'000'000'000;
  Put();
  EXPECT_TRUE(Sends(0));
  steer_->RemoveRelayWindow(kChannel);
  ExpectDropped(Plain(1), OMNI_DROP_rx_unknown_channel, "while it is closed");
}

TEST_P(Relay, DropsWhatIsShorterThanAHeader) {
  for (size_t bytes = 1; bytes < 32; ++bytes) {
    ExpectDropped(Plain(0, bytes), OMNI_DROP_rx_truncated, "short");
  }
  EXPECT_TRUE(Sends(0, 32));
}

// Cut at every byte, the headers as they were: what is not whole is the kernel's to refuse.
TEST_P(Relay, LeavesEveryTruncationToTheKernel) {
  const Bytes whole = Plain(0);
  for (size_t bytes = 14; bytes < whole.size(); ++bytes) {
    Bytes out(4096);
    const auto verdict = steer_->Run(std::span(whole).first(bytes), out);
    ASSERT_TRUE(!verdict || verdict->action == XDP_PASS) << bytes << " bytes";
    if (verdict) {
      ASSERT_TRUE(
          std::ranges::equal(std::span(out).first(verdict->bytes), std::span(whole).first(bytes)));
    }
  }
  EXPECT_TRUE(Sends(0)) << "and the counter is not used up";
}

// Judged all the same: the same datagram does not go again in another dress.
TEST_P(Relay, LeavesToUserSpaceWhatIsNotPlain) {
  const uint8_t first = family() == 4 ? 17 : 60;
  const Bytes options = family() == 4 ? Bytes(8, 1) : Bytes{17, 0, 1, 4, 0, 0, 0, 0};
  uint64_t counter = 0;
  const auto expect = [&](const Bytes& frame, const std::string& what) {
    const uint64_t left = count(OMNI_STEER_xdp_relay_left);
    ExpectUntouched(frame, what);
    EXPECT_EQ(count(OMNI_STEER_xdp_relay_left), left + 1) << what;
    ExpectDropped(frame, OMNI_DROP_rx_relay_replayed, what + ", again");
    ExpectDropped(Plain(counter++), OMNI_DROP_rx_relay_replayed, what + ", in another dress");
  };
  expect(FrameOf({.family = family(), .options = options, .first_header = first}, Data(counter)),
         "options");
  expect(FrameOf({.family = family(), .vlan = 10}, Data(counter)), "a tag");
  Bytes trailed = Plain(counter);
  trailed.resize(trailed.size() + 20);
  expect(trailed, "bytes behind the packet");
  expect(WithBytesBehindUdp(Plain(counter), family()), "bytes behind the datagram in the packet");
  entry_.mtu = 9000;
  Put();
  expect(Plain(counter, 8900), "a frame in pieces");
  const size_t over = 1500 - (family() == 4 ? 28 : 48) + 1;
  entry_.mtu = 1500;
  Put();
  expect(Plain(counter, over), "one byte too long for the way out");
  EXPECT_TRUE(Sends(counter++, over - 1));
  entry_.to_family = family() == 4 ? 6 : 4;
  Put();
  expect(Plain(counter), "another family on the way out");
  entry_.to_family = static_cast<uint8_t>(family());
  entry_.interface = 0;
  Put();
  expect(Plain(counter), "no way out");
  entry_.interface = kLoopback;
  Put();
  if (family() == 6) {
    expect(FrameOf({.family = 6}, Data(counter), Checksum::kNone), "IPv6 without a checksum");
  } else {
    Bytes damaged = Plain(counter);
    damaged[kEthernet + 8] ^= 1;  // the time to live
    expect(damaged, "a header whose checksum is wrong");
  }
  EXPECT_EQ(count(OMNI_STEER_xdp_relayed), 1U);
}

TEST_P(Relay, DoesNothingBehindTheDriver) {
  for (int i = 0; i < 2; ++i) {
    const Result out = Run(Plain(0), XdpMode::kGeneric);
    EXPECT_EQ(out.action, static_cast<uint32_t>(XDP_PASS));
    EXPECT_EQ(out.frame, Plain(0));
  }
  EXPECT_TRUE(Sends(0));
}

TEST_P(Relay, SurvivesRandomBytes) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  Bytes out(4096);
  for (uint64_t i = 0; i < 30'000; ++i) {
    Bytes frame = Plain(i, 32 + random() % 200);
    const Bytes good = frame;
    for (uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
      frame[random() % std::min<size_t>(frame.size(), 90)] = static_cast<uint8_t>(random());
    }
    const auto verdict = steer_->Run(frame, out);
    if (!verdict) continue;
    const auto after = std::span(out).first(verdict->bytes);
    ASSERT_EQ(after.size(), frame.size()) << "as large as it came";
    if (verdict->action == XDP_TX) {
      ASSERT_TRUE(std::ranges::equal(after.first(12), Bytes{2, 0, 0, 0, 0, 7, 2, 0, 0, 0, 0, 9}));
    } else {
      ASSERT_TRUE(verdict->action == XDP_PASS || verdict->action == XDP_DROP);
      ASSERT_TRUE(std::ranges::equal(after, frame));
    }
  }
  steer_->RemoveRelayWindow(kChannel);
  ASSERT_TRUE(steer_->AddRelayWindow(kChannel));
  EXPECT_TRUE(Sends(0)) << "a good one afterwards";
}

INSTANTIATE_TEST_SUITE_P(Families, Relay, testing::Values(4, 6), FamilyName);

}  // namespace
}  // namespace omni::bpf_testing
