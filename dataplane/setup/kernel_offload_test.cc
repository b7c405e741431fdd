// SPDX-License-Identifier: Apache-2.0
// Segmenter and Coalescer against the kernel itself, in a private network: what they make of random
// super-packets must be what the kernel makes of them, and what the kernel's sockets send and
// receive. Checksums are checked by a naive sum.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <random>

#include "common/status.h"
#include "dataplane/core/test_packets.h"
#include "dataplane/core/transport_header.h"
#include "dataplane/io/udp_port.h"
#include "dataplane/io/virtio_net.h"
#include "dataplane/setup/netlink_link.h"
#include "dataplane/setup/offload_check.h"
#include "dataplane/setup/private_network.h"
#include "dataplane/setup/tun_probe.h"

namespace omni {
namespace {

using omni::testing::ChecksumsAreRight;

class KernelOffloadTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    // For the rest of this program.
    static const absl::Status entered = EnterPrivateNetwork();
    ASSERT_TRUE(entered.ok()) << entered << "; run it as root";
  }
  void SetUp() override {
    auto probe = TunProbe::Open();
    ASSERT_TRUE(probe.ok()) << probe.status();
    probe_ = *std::move(probe);
    for (const ProbeFamily& family : {kProbeV4, kProbeV6}) {
      ASSERT_TRUE(probe_->AwaitDelivery(family).ok());
    }
    ASSERT_TRUE(probe_->offloads().tso && probe_->offloads().uso);
  }

  size_t Random(size_t from, size_t to) { return from + random_() % (to - from + 1); }
  bool OneIn(size_t n) { return random_() % n == 0; }
  ProbeFamily RandomFamily() { return OneIn(2) ? kProbeV4 : kProbeV6; }
  Bytes RandomBytes(size_t count) {
    Bytes out(count);
    for (uint8_t& byte : out) byte = static_cast<uint8_t>(random_());
    return out;
  }
  // The options of a SYN: a segment size, perhaps timestamps and more, in 4-byte steps.
  Bytes RandomSynOptions(uint16_t segment) {
    Bytes out = {2, 4, static_cast<uint8_t>(segment >> 8), static_cast<uint8_t>(segment)};
    if (OneIn(2)) out.insert(out.end(), {1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0});
    if (OneIn(2)) out.insert(out.end(), {1, 1, 4, 2});
    return out;
  }

  const uint64_t seed_ = std::random_device{}();
  std::mt19937_64 random_{seed_};
  ::testing::ScopedTrace trace_{__FILE__, __LINE__, "seed " + std::to_string(seed_)};
  std::unique_ptr<TunProbe> probe_;
};

// ------------------------------------------------------------------------- from the kernel to us

// Sends a train from a connected socket of the host; the packets that come out.
std::vector<Bytes> PacketsOfTrain(TunProbe& probe, const ProbeSocket& host, Bytes bytes,
                                  uint16_t segment) {
  iovec vector = {bytes.data(), bytes.size()};
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(uint16_t))> control{};
  cmsghdr header{};
  header.cmsg_len = CMSG_LEN(sizeof(uint16_t));
  header.cmsg_level = SOL_UDP;
  header.cmsg_type = UDP_SEGMENT;
  std::memcpy(control.data(), &header, sizeof(header));
  std::memcpy(control.data() + CMSG_LEN(0), &segment, sizeof(segment));
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  EXPECT_EQ(sendmsg(host.fd(), &message, 0), static_cast<ssize_t>(bytes.size()))
      << std::strerror(errno);
  const size_t count = (bytes.size() + segment - 1) / segment;
  std::vector<Bytes> out;
  while (out.size() < count) {
    const auto packet = probe.Read(kProtocolUdp, host.flow());
    if (!packet) break;
    const auto segments = CutAndCheck(*packet);
    EXPECT_TRUE(segments.ok()) << segments.status();
    if (!segments.ok()) break;
    out.insert(out.end(), segments->begin(), segments->end());
  }
  return out;
}

// IPv4 ids count on from packet to packet: as the distance to the first.
void RebaseIds(std::vector<Bytes>& packets) {
  if (packets.empty() || packets[0][0] >> 4 != 4) return;
  const auto first = LoadField<Be16>(&packets[0][4]);
  for (Bytes& packet : packets) {
    EXPECT_TRUE(ChecksumsAreRight(packet));
    const auto id = static_cast<uint16_t>(LoadField<Be16>(&packet[4]) - first);
    StoreField<Be16>(&packet[4], id);
    packet[10] = packet[11] = 0;
  }
}

TEST_F(KernelOffloadTest, TrainsAreCutAsTheKernelCutsThem) {
  for (int round = 0; round < 200; ++round) {
    const ProbeFamily family = RandomFamily();
    auto host = ProbeSocket::Open(family, SOCK_DGRAM);
    ASSERT_TRUE(host.ok() && host->Connect());
    const auto segment = static_cast<uint16_t>(Random(1, 1400));
    const Bytes bytes = RandomBytes(Random(1, std::min<size_t>(segment * 64U, 60'000)));
    const auto send = [&](unsigned long flags) {
      EXPECT_EQ(ioctl(probe_->port().fd(), TUNSETOFFLOAD, flags), 0);
      auto out = PacketsOfTrain(*probe_, *host, bytes, segment);
      for (const Bytes& packet : out) EXPECT_TRUE(ChecksumsAreRight(packet));
      RebaseIds(out);
      return out;
    };
    const auto ours = send(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6);
    const auto kernels = send(0);
    ASSERT_EQ(kernels.size(), (bytes.size() + segment - 1) / segment) << "round " << round;
    ASSERT_EQ(ours, kernels) << "round " << round;
  }
}

// A segment without what tells one time and place in a stream from another.
Bytes Timeless(Bytes segment) {
  const size_t ip = segment[0] >> 4 == 4 ? kIpv4Header : kIpv6Header;
  if (ip == kIpv4Header) segment[4] = segment[5] = segment[10] = segment[11] = 0;
  const size_t tcp = (segment[ip + 12] >> 4) * 4U;
  std::fill_n(segment.begin() + static_cast<std::ptrdiff_t>(ip + kTcpSequence), 8, 0);
  segment[ip + kTcpChecksum] = segment[ip + kTcpChecksum + 1] = 0;
  if (tcp > kTcpHeader) std::fill_n(segment.begin() + static_cast<std::ptrdiff_t>(ip + 24), 8, 0);
  // Where PSH stands depends on how the stream came to the device.
  segment[ip + kTcpFlags] &= static_cast<uint8_t>(~kTcpPsh);
  return segment;
}

TEST_F(KernelOffloadTest, StreamsAreCutAsTheKernelCutsThem) {
  size_t super_packets = 0;
  for (int round = 0; round < 100; ++round) {
    const ProbeFamily family = RandomFamily();
    const auto segment = static_cast<uint16_t>(Random(600, 1400));
    auto talk = Conversation::Open(*probe_, family, RandomSynOptions(segment));
    ASSERT_TRUE(talk.ok()) << talk.status();
    const Bytes bytes = RandomBytes(Random(1, 4 * segment));
    const auto send = [&](unsigned long flags) {
      EXPECT_EQ(ioctl(probe_->port().fd(), TUNSETOFFLOAD, flags), 0);
      auto heard = talk->Hear(bytes);
      EXPECT_TRUE(heard.ok()) << heard.status();
      if (!heard.ok()) return Conversation::Heard{};
      EXPECT_EQ(heard->stream, bytes);
      for (Bytes& packet : heard->segments) {
        EXPECT_TRUE(ChecksumsAreRight(packet));
        packet = Timeless(std::move(packet));
      }
      return *std::move(heard);
    };
    const auto ours = send(TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6);
    const auto kernels = send(0);
    super_packets += ours.super_packets;
    EXPECT_EQ(kernels.super_packets, 0U);
    ASSERT_EQ(ours.segments, kernels.segments) << "round " << round;
  }
  EXPECT_GT(super_packets, 0U);
}

// ------------------------------------------------------------------------- from us to the kernel

TEST_F(KernelOffloadTest, JoinedDatagramsArriveAsTheyWereAndBrokenOnesDoNot) {
  for (int round = 0; round < 100; ++round) {
    struct Flow {
      ProbeSocket host;
      std::vector<Bytes> expected;
      size_t usual;
    };
    std::vector<Flow> flows;
    for (size_t i = Random(1, 4); i > 0; --i) {
      auto host = ProbeSocket::Open(RandomFamily(), SOCK_DGRAM);
      ASSERT_TRUE(host.ok()) << host.status();
      const int room = 4 << 20;
      ASSERT_EQ(setsockopt(host->fd(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)), 0);
      flows.push_back({.host = *std::move(host), .expected = {}, .usual = Random(1, 1400)});
    }
    std::vector<ProbePacket> packets;
    for (size_t i = Random(1, 120); i > 0; --i) {
      Flow& flow = flows[random_() % flows.size()];
      const Bytes payload = RandomBytes(OneIn(5) ? Random(0, 1400) : flow.usual);
      packets.push_back(ProbePacket::MakeUdp(flow.host.flow(), payload));
      if (!payload.empty() && OneIn(20)) {
        packets.back().bytes().back() ^= 1;  // the kernel must see its wrong checksum
      } else {
        flow.expected.push_back(payload);
      }
    }
    ASSERT_TRUE(probe_->Write(packets)) << "round " << round;
    for (const Flow& flow : flows) {
      for (const Bytes& expected : flow.expected) {
        Bytes got(65536);
        const ssize_t n = recv(flow.host.fd(), got.data(), got.size(), 0);
        ASSERT_EQ(n, static_cast<ssize_t>(expected.size())) << "round " << round;
        got.resize(static_cast<size_t>(n));
        ASSERT_EQ(got, expected) << "round " << round;
      }
      char more;
      ASSERT_LT(recv(flow.host.fd(), &more, 1, 0), 0) << "round " << round;
    }
    EXPECT_EQ(probe_->port().udp_joining().refusals(), 0U);
  }
}

TEST_F(KernelOffloadTest, JoinedStreamsArriveAsTheyWereAndBrokenSegmentsDoNot) {
  for (int round = 0; round < 50; ++round) {
    auto talk = Conversation::Open(*probe_, RandomFamily(),
                                   RandomSynOptions(static_cast<uint16_t>(Random(600, 1400))));
    ASSERT_TRUE(talk.ok()) << talk.status();
    for (int batch = 0; batch < 4; ++batch) {
      const size_t usual = Random(1, 1400);
      Bytes sent;
      std::vector<Conversation::Words> words;
      for (size_t i = Random(1, 20); i > 0; --i) {
        const Bytes payload = RandomBytes(OneIn(4) ? Random(1, 1400) : usual);
        sent.insert(sent.end(), payload.begin(), payload.end());
        const uint8_t flags = OneIn(6) ? kTcpAck | kTcpPsh : kTcpAck;
        words.push_back({.flags = flags, .options = {}, .payload = payload});
      }
      // Here and there a broken copy comes first, and must not take the place.
      std::vector<ProbePacket> packets;
      for (ProbePacket& packet : talk->Phrase(words)) {
        if (OneIn(5)) {
          packets.push_back(packet);
          packets.back().bytes().back() ^= 1;
        }
        packets.push_back(std::move(packet));
      }
      ASSERT_TRUE(probe_->Write(packets));
      ASSERT_EQ(talk->HostReceives(sent.size()), sent) << "round " << round;
    }
    EXPECT_EQ(probe_->port().tcp_joining().refusals(), 0U);
  }
}

// ---------------------------------------------------------------------------------- the self-test

TEST_F(KernelOffloadTest, TheSelfTestPassesHere) {
  probe_.reset();  // it makes a device of its own
  OffloadFindings found;
  CheckUdpOffloads(found);
  CheckTunOffloads(found);
  for (size_t i = 0; i < kOffloads; ++i) {
    const OffloadFinding& finding = found[static_cast<KernelOffload>(i)];
    EXPECT_TRUE(finding.active) << kOffloadNames[i];
    EXPECT_EQ(finding.reason, "self-test passed") << kOffloadNames[i];
  }
}

TEST(CheckResult, AFailureCountsMoreThanASuccessAndThatMoreThanNothing) {
  CheckResult result;
  EXPECT_EQ(result.Finding().reason, "not tested: not tried");
  EXPECT_TRUE(result.Finding().active);
  result.Add(absl::OkStatus());
  result.Add(absl::UnavailableError("no IPv6"));
  EXPECT_EQ(result.Finding().reason, "self-test passed");
  result.Add(absl::DataLossError("changed"));
  result.Add(absl::OkStatus());
  EXPECT_EQ(result.Finding().reason, "failed: changed");
  EXPECT_FALSE(result.Finding().active);
}

// ------------------------------------------------------------------- an interface, a full socket

// An Ethernet on which nobody answers.
class EthernetTest : public KernelOffloadTest {
 protected:
  void SetUp() override {
    KernelOffloadTest::SetUp();
    if (HasFatalFailure()) return;
    ifreq request{};
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    std::strncpy(request.ifr_name, "omnitap", sizeof(request.ifr_name) - 1);
    ASSERT_EQ(ioctl(tap_.get(), TUNSETIFF, &request), 0) << std::strerror(errno);
    auto link = NetlinkLink::Open("omnitap");
    ASSERT_TRUE(link.ok());
    const LinkState state = {
        .addresses = {*InterfaceAddress::Parse("192.0.2.1/24")}, .mtu = 1500, .routes = {}};
    ASSERT_TRUE((*link)->Apply(state).ok());
  }
  static std::unique_ptr<KernelUdpPort> MakePort(int send_buffer) {
    KernelUdpPort::Sockets sockets;
    sockets.v4 = FileDescriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int probe = IP_PMTUDISC_PROBE;
    EXPECT_EQ(setsockopt(sockets.v4.get(), SOL_IP, IP_MTU_DISCOVER, &probe, sizeof(probe)), 0);
    EXPECT_EQ(setsockopt(sockets.v4.get(), SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(int)), 0);
    return std::make_unique<KernelUdpPort>(std::move(sockets), KernelUdpPort::Gso::kOn);
  }

  const FileDescriptor tap_{open("/dev/net/tun", O_RDWR | O_CLOEXEC)};
  Bytes bytes_ = Bytes(10'000);
  const Train train_{.path = {.remote = *Endpoint::Parse("192.0.2.2:9")},
                     .data = bytes_.data(),
                     .bytes = 10'000,
                     .segment_bytes = 1000,
                     .segments = 10};
  DropCounters drops_;
};

// Of the train as a whole, older kernels say EINVAL.
TEST_F(EthernetTest, ATrainOfTooLargeDatagramsIsNoRefusalOfTrains) {
  const auto port = MakePort(100'000);
  Train train = train_;
  train.segment_bytes = 1900;
  train.segments = 6;
  port->Send({&train, 1}, drops_);
  EXPECT_EQ(drops_.value(DropReason::tx_too_big), 5U);
  EXPECT_EQ(port->gso().refusals(), 0U);
}

// Datagrams to a neighbour that does not answer wait in the kernel, on the account of their socket.
class FullSocketTest : public EthernetTest {
 protected:
  std::unique_ptr<KernelUdpPort> port_ = MakePort(1);  // the least there is
};

TEST_F(FullSocketTest, WhatItDoesNotTakeIsCounted) {
  for (int i = 0; i < 10; ++i) port_->Send({&train_, 1}, drops_);
  EXPECT_GT(drops_.value(DropReason::tx_socket_full), 0U);
  EXPECT_EQ(drops_.value(DropReason::tx_socket_full) % 10, 0U) << "trains, not parts of them";
  EXPECT_EQ(drops_.value(DropReason::tx_socket_error), 0U);
  EXPECT_EQ(port_->gso().refusals(), 0U) << "a full socket refuses nobody";
}

TEST_F(FullSocketTest, ABatchThatFindsNoRoomIsWaitedForOnce) {
  const std::vector<Train> batch(200, train_);
  const auto waits = [] {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
  };
  const auto before = waits();
  port_->Send(batch, drops_);
  EXPECT_LT(waits() - before, 20);
  EXPECT_GT(drops_.value(DropReason::tx_socket_full), 190U * 10U);
}

TEST_F(KernelOffloadTest, ADeviceThatIsDownIsAnErrorForEachPacket) {
  const FileDescriptor control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, "omnitest", sizeof(request.ifr_name) - 1);
  ASSERT_EQ(ioctl(control.get(), SIOCSIFFLAGS, &request), 0);
  ProbeFlow flow{.from = *Endpoint::Parse("10.0.0.2:1"), .to = *Endpoint::Parse("10.0.0.1:1")};
  std::vector<std::span<uint8_t>> views;
  std::vector<ProbePacket> packets;
  for (int i = 0; i < 5; ++i) packets.push_back(ProbePacket::MakeUdp(flow, RandomBytes(100)));
  for (ProbePacket& packet : packets) views.push_back(packet.bytes());
  DropCounters drops;
  probe_->port().Write(views, drops);
  EXPECT_EQ(drops.value(DropReason::rx_tun_error), 5U);
  EXPECT_EQ(probe_->port().udp_joining().refusals(), 0U);
}

}  // namespace
}  // namespace omni
