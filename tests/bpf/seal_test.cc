// SPDX-License-Identifier: Apache-2.0
// What the sending program seals, what it makes of it, and what it leaves to user space. A program
// that is run by hand sees a packet whose first fourteen bytes the kernel took for an Ethernet
// header: the inner packets here have source addresses that make its type come out right.
#include <arpa/inet.h>

#include <chrono>
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

// Every length up to the threshold, four combinations of families; libsodium opens what came out.
TEST_F(BpfSeal, SealsEveryLength) {
  uint64_t counter = 0;
  for (const int outside : {4, 6}) {
    if (outside == 6) UseIpv6Outside();
    for (const int inside : {4, 6}) {
      // Shorter ones the kernel does not run by hand; the story sends them.
      for (size_t bytes = inside == 4 ? 34 : 54; bytes <= kThreshold; ++bytes) {
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

}  // namespace
}  // namespace omni::bpf_testing
