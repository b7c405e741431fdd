// SPDX-License-Identifier: Apache-2.0
// What the sending program seals, what it makes of it, and what it leaves to user space. A program
// that is run by hand sees a packet whose first fourteen bytes the kernel took for an Ethernet
// header: the inner packets here have source addresses that make its type come out right.
#include <arpa/inet.h>

#include <chrono>
#include <random>
#include <thread>

#include "common/clock.h"
#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;

uint32_t Sum(std::span<const uint8_t> bytes, uint32_t sum = 0) {
  for (size_t i = 0; i < bytes.size(); ++i) sum += i % 2 == 0 ? bytes[i] << 8U : bytes[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

size_t HeaderOf(const Bytes& packet) { return packet[0] >> 4 == 4 ? 20 : 40; }

uint32_t PseudoSum(const Bytes& packet) {
  const size_t header = HeaderOf(packet);
  const auto addresses =
      header == 20 ? std::span(packet).subspan(12, 8) : std::span(packet).subspan(8, 32);
  const uint32_t protocol = header == 20 ? packet[9] : packet[6];
  return Sum(addresses, protocol + static_cast<uint32_t>(packet.size() - header));
}

void SetChecksum(Bytes& packet, size_t offset, uint32_t value) {
  packet[HeaderOf(packet) + offset] = static_cast<uint8_t>(value >> 8);
  packet[HeaderOf(packet) + offset + 1] = static_cast<uint8_t>(value);
}

// From 8.0.0.1 to 10.77.0.2, or the same in IPv6.
Bytes HostPacket(int family, size_t bytes, uint8_t protocol = 1, uint8_t traffic_class = 0) {
  Bytes out = family == 4 ? InnerV4(bytes, 2, 2, traffic_class, protocol)
                          : InnerV6(bytes, 2, 2, traffic_class);
  if (family == 4) {
    std::ranges::copy(std::array<uint8_t, 4>{8, 0, 0, 1}, out.begin() + 12);
    SetChecksum(out, 0, 0);
    out[10] = out[11] = 0;
    const uint32_t sum = ~Sum(std::span(out).first(20));
    out[10] = static_cast<uint8_t>(sum >> 8);
    out[11] = static_cast<uint8_t>(sum);
  } else {
    out[12] = 0x86;
    out[13] = 0xdd;
    out[6] = protocol == 1 ? 58 : protocol;
  }
  return out;
}

class BpfSeal : public BpfTest {
 protected:
  Result Send(const Bytes& packet) { return Run(KernelProgram::kSealTun, packet); }
  void ExpectLeft(const Bytes& packet, const std::string& what) {
    const Result result = Send(packet);
    EXPECT_EQ(result.action, kPass) << what;
    EXPECT_EQ(result.packet, packet) << what;
    ForgetFlows();
  }
  // Lets time pass for the guard of flows without waiting for it.
  void ForgetFlows() { object_->ForgetFlows(); }
  // Checks the outer headers; gives the session data.
  Bytes CheckOutside(const Bytes& frame, size_t inner, uint8_t traffic_class) {
    const bool v4 = object_->peers()[kPeer].family == 4;
    const size_t header = v4 ? 20 : 40;
    EXPECT_EQ(frame.size(), 14 + header + 8 + OMNI_DATA_OVERHEAD + inner);
    const Bytes ip(frame.begin() + 14, frame.end());
    const auto udp = std::span(ip).subspan(header);
    if (v4) {
      EXPECT_EQ(ip[0], 0x45);
      EXPECT_EQ(ip[1], traffic_class);
      EXPECT_EQ(ip[2] << 8 | ip[3], static_cast<int>(ip.size()));
      EXPECT_EQ(ip[6], 0x40) << "do not fragment";
      EXPECT_EQ(Sum(std::span(ip).first(20)), 0xffffU);
      EXPECT_EQ(udp[6] | udp[7], 0);
    } else {
      EXPECT_EQ((ip[0] << 8 | ip[1]) & 0xfff0, 0x6000 | traffic_class << 4);
      EXPECT_EQ(ip[4] << 8 | ip[5], static_cast<int>(ip.size() - 40));
      Bytes tail(udp.begin(), udp.end());
      EXPECT_EQ(Sum(tail, PseudoSum(ip)), 0xffffU) << "UDP checksum";
      EXPECT_NE(udp[6] | udp[7], 0);
    }
    EXPECT_EQ(udp[0] << 8 | udp[1], kPort);
    EXPECT_EQ(udp[2] << 8 | udp[3], kPeerPort);
    EXPECT_EQ(udp[4] << 8 | udp[5], static_cast<int>(udp.size()));
    return {udp.begin() + 8, udp.end()};
  }
  void UseIpv6Outside() {
    omni_kernel_peer& peer = object_->peers()[kPeer];
    peer.family = 6;
    peer.remote[4] = peer.local[4] = 0xfd;
  }
};

// A threshold above what an operator can say.
class BpfSealLong : public BpfSeal {
 protected:
  uint32_t threshold() const override { return 1500; }
};

// Every length up to the threshold, four combinations of families; libsodium opens what came out.
TEST_F(BpfSealLong, SealsEveryLength) {
  uint64_t counter = 0;
  for (const int outside : {4, 6}) {
    if (outside == 6) UseIpv6Outside();
    for (const int inside : {4, 6}) {
      // Shorter ones the kernel does not run by hand; the story sends them.
      for (size_t bytes = inside == 4 ? 34 : 54; bytes <= threshold(); ++bytes) {
        const Bytes packet = HostPacket(inside, bytes, 1, 0xb8 | 2);
        const Result result = Send(packet);
        ASSERT_EQ(result.action, kRedirect) << inside << " in " << outside << ", " << bytes;
        const Bytes data = CheckOutside(result.packet, bytes, 0xb8 | 2);
        ASSERT_FALSE(HasFailure()) << inside << " in " << outside << ", " << bytes;
        ASSERT_EQ(data[8] | data[9] << 8, static_cast<int>(counter++ & 0xffff));
        const auto opened = Open(tx_key_, data);
        ASSERT_TRUE(opened.has_value()) << inside << " in " << outside << ", " << bytes;
        ASSERT_EQ(*opened, packet);
      }
    }
  }
  EXPECT_EQ(object_->peers()[kPeer].tx_packets, counter);
  EXPECT_EQ(object_->tx()[kTxSlot].counter, counter);
  EXPECT_NE(object_->peers()[kPeer].last_tx, 0U);
}

// A host leaves the checksum of TCP and UDP to the device: the field holds the pseudo header's sum.
TEST_F(BpfSeal, FinishesChecksums) {
  for (const int family : {4, 6}) {
    for (const uint8_t protocol : {kTcp, kUdp}) {
      const size_t offset = protocol == kTcp ? 16 : 6;
      for (size_t bytes = HeaderOf(HostPacket(family, 60)) + 20; bytes < 180; ++bytes) {
        Bytes packet = HostPacket(family, bytes, protocol);
        SetChecksum(packet, offset, PseudoSum(packet));
        const Result result = Send(packet);
        ASSERT_EQ(result.action, kRedirect);
        const auto opened = Open(tx_key_, CheckOutside(result.packet, bytes, 0));
        ASSERT_TRUE(opened.has_value());
        const Bytes transport(opened->begin() + static_cast<long>(HeaderOf(packet)), opened->end());
        EXPECT_EQ(Sum(transport, PseudoSum(packet)), 0xffffU) << family << " " << bytes;
      }
    }
  }
}

TEST_F(BpfSeal, LeavesFinishedAndWrongChecksumsAsTheyAre) {
  for (const uint8_t protocol : {kTcp, kUdp}) {
    const size_t offset = protocol == kTcp ? 16 : 6;
    Bytes packet = HostPacket(4, 101, protocol);
    SetChecksum(packet, offset, 0);
    const Bytes transport(packet.begin() + 20, packet.end());
    const uint32_t right = ~Sum(transport, PseudoSum(packet)) & 0xffff;
    for (const uint32_t value : {right, right ^ 0x55, 0U}) {
      SetChecksum(packet, offset, value);
      const Result result = Send(packet);
      ASSERT_EQ(result.action, kRedirect);
      EXPECT_EQ(Open(tx_key_, CheckOutside(result.packet, packet.size(), 0)), packet);
    }
  }
}

TEST_F(BpfSeal, GoesByTheThresholdOfTheMoment) {
  ASSERT_EQ(Send(HostPacket(4, 300)).action, kRedirect);
  object_->SetThreshold(299);
  ExpectLeft(HostPacket(4, 300), "above a threshold that came down");
  EXPECT_EQ(Send(HostPacket(4, 299)).action, kRedirect);
  // At 1 it seals nothing and remembers the flows; at 0 it does not even look.
  object_->SetThreshold(1);
  EXPECT_EQ(Send(HostPacket(4, 84)).action, kPass);
  object_->SetThreshold(kThreshold);
  EXPECT_EQ(Send(HostPacket(4, 84)).action, kPass) << "its flow is with user space";
  ForgetFlows();
  const uint64_t large = count(OMNI_COUNT_kernel_tx_large);
  object_->SetThreshold(0);
  EXPECT_EQ(Send(HostPacket(4, 84)).action, kPass);
  EXPECT_EQ(count(OMNI_COUNT_kernel_tx_large), large);
  object_->SetThreshold(kThreshold);
  const uint64_t counter = object_->tx()[kTxSlot].counter;
  EXPECT_EQ(Send(HostPacket(4, 84)).action, kRedirect) << "nothing of the flow was seen";
  EXPECT_EQ(object_->tx()[kTxSlot].counter, counter + 1) << "the numbers go on";
}

TEST_F(BpfSeal, LeavesToUserSpaceWhatIsNotItsOwn) {
  ExpectLeft(HostPacket(4, kThreshold + 1), "above the threshold");
  Bytes stranger = HostPacket(4, 84);
  stranger[19] = 99;
  ExpectLeft(stranger, "no route");
  Bytes fragment = HostPacket(4, 84, kUdp);
  fragment[6] = 0x20;
  ExpectLeft(fragment, "first fragment");
  fragment[6] = 0;
  fragment[7] = 3;
  ExpectLeft(fragment, "later fragment");
  Bytes options = HostPacket(4, 84);
  options[0] = 0x46;
  ExpectLeft(options, "options");
  Bytes length = HostPacket(4, 84);
  length[3] = 83;
  ExpectLeft(length, "a length that is not the packet's");
  ExpectLeft(HostPacket(4, 84, 132), "SCTP");
  ExpectLeft(HostPacket(6, 84, 60), "extension header");
  for (const int family : {4, 6}) {
    Bytes syn = HostPacket(family, 84, kTcp);
    syn[HeaderOf(syn) + 13] = 0x02;
    ExpectLeft(syn, "SYN");
    syn[HeaderOf(syn) + 13] = 0x12;
    ExpectLeft(syn, "SYN and ACK");
  }
  ExpectLeft(HostPacket(6, 84, 44), "IPv6 fragment");
  object_->peers()[kPeer].fits = 83;
  ExpectLeft(HostPacket(4, 84), "more than the path carries whole");
  object_->peers()[kPeer].fits = 84;
  object_->peers()[kPeer].interface = 0;
  ExpectLeft(HostPacket(4, 84), "no way out");
  object_->peers()[kPeer].interface = 1;
  object_->peers()[kPeer].active = 0;
  ExpectLeft(HostPacket(4, 84), "a peer being written");
  object_->peers()[kPeer].active = 2;
  object_->tx()[kTxSlot].active = 0;
  ExpectLeft(HostPacket(4, 84), "a channel being written");
  object_->tx()[kTxSlot].active = 2;
  object_->peers()[kPeer].tx_slot = OMNI_KERNEL_CHANNELS;
  ExpectLeft(HostPacket(4, 84), "no channel");
  object_->peers()[kPeer].tx_slot = kTxSlot;
  object_->tx()[kTxSlot].counter = OMNI_REJECT_AFTER_MESSAGES;
  ExpectLeft(HostPacket(4, 84), "counter used up");
  object_->tx()[kTxSlot].counter = 0;
  object_->tx()[kTxSlot].reject_at = static_cast<uint64_t>(Now().time_since_epoch().count());
  ExpectLeft(HostPacket(4, 84), "session over");
  EXPECT_EQ(object_->peers()[kPeer].tx_packets, 0U);
}

// What keeps a flow with user space is what is large in it, not that it was kept before.
TEST_F(BpfSeal, TakesASteadyFlowBackAWhileAfterItsLastLargePacket) {
  const Bytes small = HostPacket(4, 100, kUdp);
  Bytes large = HostPacket(4, 1000, kUdp);
  std::copy_n(small.begin() + 20, 4, large.begin() + 20);  // the ports
  EXPECT_EQ(Send(large).action, kPass);
  int kept = 0;
  // The pace of a control loop; the guard of these tests is ten times as long.
  while (kept < 2000 && Send(small).action == kPass) {
    ++kept;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GT(kept, 0);
  EXPECT_LT(kept, 2000);
}

// A small packet behind a large one of its flow goes the large one's way; other flows do not.
TEST_F(BpfSeal, KeepsAFlowInOrder) {
  const Bytes small = HostPacket(4, 100, kUdp);
  Bytes other = small;
  other[20] ^= 0x11;
  Bytes large = HostPacket(4, 1000, kUdp);
  std::copy_n(small.begin() + 20, 4, large.begin() + 20);  // the ports
  EXPECT_EQ(Send(small).action, kRedirect);
  EXPECT_EQ(Send(large).action, kPass);
  EXPECT_EQ(Send(small).action, kPass);
  EXPECT_EQ(Send(other).action, kRedirect);
  EXPECT_EQ(count(OMNI_COUNT_kernel_tx_large), 1U);
  EXPECT_EQ(count(OMNI_COUNT_kernel_tx_kept), 1U);
  ForgetFlows();
  EXPECT_EQ(Send(small).action, kRedirect);
  // A fragment may be of any flow between two addresses.
  Bytes fragment = large;
  fragment[6] = 0x20;
  EXPECT_EQ(Send(fragment).action, kPass);
  EXPECT_EQ(Send(small).action, kPass);
  EXPECT_EQ(Send(other).action, kPass);
}

class BpfPace : public BpfSeal {
 protected:
  BpfPace() { pace_ = std::chrono::milliseconds(2); }
};

// Bulk of small packets is cheaper in user space.
TEST_F(BpfPace, LeavesAFastFlowToUserSpaceAndTakesItBackWhenItIsSlow) {
  const Bytes small = HostPacket(4, 100, kUdp);
  Bytes other = small;
  other[20] ^= 0x11;
  uint64_t sealed = 0;
  while (sealed < 10 * OMNI_KERNEL_FLOW_BURST && Send(small).action == kRedirect) ++sealed;
  EXPECT_GE(sealed, OMNI_KERNEL_FLOW_BURST);
  EXPECT_LT(sealed, 10 * OMNI_KERNEL_FLOW_BURST);
  EXPECT_EQ(count(OMNI_COUNT_kernel_tx_fast), 1U);
  EXPECT_EQ(Send(small).action, kPass) << "it does not come back in between";
  EXPECT_EQ(count(OMNI_COUNT_kernel_tx_kept), 1U);
  EXPECT_EQ(Send(other).action, kRedirect) << "other flows are not concerned";
  int kept = 0;
  while (kept < 2000 && Send(small).action == kPass) {
    ++kept;
    std::this_thread::sleep_for(std::chrono::milliseconds(3));
  }
  EXPECT_LT(kept, 2000);
}

TEST_F(BpfSeal, NeverUsesACounterTwice) {
  std::vector<uint64_t> counters;
  for (int i = 0; i < 1000; ++i) {
    const Result result = Send(HostPacket(4, 84));
    ASSERT_EQ(result.action, kRedirect);
    const Bytes data = CheckOutside(result.packet, 84, 0);
    Le64 counter;
    std::memcpy(&counter, &data[8], 8);
    ASSERT_EQ(counter.value(), static_cast<uint64_t>(i));
  }
}

// Whatever the host sends: left alone, or sealed so that libsodium opens it; each counter once.
TEST_F(BpfSeal, SurvivesRandomBytes) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  Bytes out(4096);
  uint64_t sealed = 0;
  for (int i = 0; i < 30'000; ++i) {
    const uint8_t protocols[] = {1, 6, 17, static_cast<uint8_t>(random())};
    Bytes packet = HostPacket((i & 1) != 0 ? 4 : 6, 60 + random() % 600, protocols[random() % 4]);
    if (i % 5 == 0) packet.resize(14 + random() % 2000);
    if (i % 7 == 0) {
      for (uint8_t& byte : packet) byte = static_cast<uint8_t>(random());
    }
    for (uint64_t changes = random() % 4; changes > 0; --changes) {
      packet[random() % std::min<size_t>(packet.size(), 60)] = static_cast<uint8_t>(random());
    }
    if (i % 256 == 0) object_->ForgetFlows();
    const auto verdict = object_->Run(KernelProgram::kSealTun, packet, out);
    if (!verdict || verdict->action == kPass) continue;
    ASSERT_EQ(verdict->action, kRedirect);
    // Behind Ethernet, IPv4 and UDP.
    const auto opened = Open(tx_key_, std::span(out).first(verdict->bytes).subspan(42));
    ASSERT_TRUE(opened) << packet.size();
    ASSERT_EQ(opened->size(), packet.size());
    ++sealed;
  }
  EXPECT_GT(sealed, 1000U);
  EXPECT_EQ(object_->tx()[kTxSlot].counter, sealed);
}

}  // namespace
}  // namespace omni::bpf_testing
