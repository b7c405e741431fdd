// SPDX-License-Identifier: Apache-2.0
// A TUN port whose queue is one end of a socket pair: what it writes can be read at the other end,
// and a small buffer refuses what a device would.
#include "dataplane/io/tun_port.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <vector>

#include "dataplane/core/test_packets.h"
#include "dataplane/io/virtio_net.h"

namespace omni {
namespace {

using omni::testing::MakePacket;
using omni::testing::MakePayload;
using omni::testing::PacketSpec;
using Bytes = std::vector<uint8_t>;

// Packets with the room in front that Write() asks for.
class Batch {
 public:
  explicit Batch(const std::vector<Bytes>& packets) {
    for (const Bytes& packet : packets) {
      Bytes& buffer = buffers_.emplace_back(TunPort::kHeadroom);
      buffer.insert(buffer.end(), packet.begin(), packet.end());
    }
    for (Bytes& buffer : buffers_) views_.push_back(std::span(buffer).subspan(TunPort::kHeadroom));
  }
  std::span<const std::span<uint8_t>> views() const { return views_; }

 private:
  std::vector<Bytes> buffers_;
  std::vector<std::span<uint8_t>> views_;
};

// Two packets of a flow that belong together.
std::vector<Bytes> Pair(uint8_t protocol, size_t payload) {
  const PacketSpec first{.protocol = protocol};
  const PacketSpec second{.protocol = protocol,
                          .sequence = first.sequence + static_cast<uint32_t>(payload),
                          .ip_id = static_cast<uint16_t>(first.ip_id + 1)};
  return {MakePacket(first, MakePayload(payload)), MakePacket(second, MakePayload(payload, 9))};
}

class TunPortTest : public ::testing::Test {
 protected:
  // The least that the kernel allows, some 4.5 KB: holds two packets of kLarge bytes one after the
  // other (it counts only what is there already), and not both in one message.
  static constexpr int kSmallBuffer = 1;
  static constexpr size_t kLarge = 3500;

  void SetUp() override {
    std::array<int, 2> ends;
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    host_ = FileDescriptor(ends[0]);
    ASSERT_EQ(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &kSmallBuffer, sizeof(int)), 0);
    queue_ = ends[1];
    port_ = std::make_unique<KernelTunPort>(FileDescriptor(ends[1]), Coalescer::Kinds{});
  }

  void Write(const std::vector<Bytes>& packets) { port_->Write(Batch(packets).views(), drops_); }

  // What the host got: virtio header and packet.
  std::vector<Bytes> Received() {
    std::vector<Bytes> out;
    Bytes buffer(70'000);
    for (;;) {
      const ssize_t n = read(host_.get(), buffer.data(), buffer.size());
      if (n < 0) return out;
      out.emplace_back(buffer.begin(), buffer.begin() + n);
    }
  }
  std::vector<Bytes> Packets() {
    std::vector<Bytes> out = Received();
    for (Bytes& packet : out) packet.erase(packet.begin(), packet.begin() + sizeof(VirtioHeader));
    return out;
  }

  DropCounters drops_;
  FileDescriptor host_;
  int queue_ = -1;  // the port's
  std::unique_ptr<KernelTunPort> port_;
};

TEST_F(TunPortTest, WritesTogetherWhatBelongsTogether) {
  for (const uint8_t protocol : {6, 17}) {
    Write(Pair(protocol, 1000));
    const auto got = Received();
    ASSERT_EQ(got.size(), 1U);
    VirtioHeader header;
    std::memcpy(&header, got[0].data(), sizeof(header));
    EXPECT_EQ(header.gso_type, protocol == 6 ? VirtioHeader::kGsoTcp4 : VirtioHeader::kGsoUdpL4);
    EXPECT_EQ(header.gso_size, 1000);
  }
}

TEST_F(TunPortTest, ASwitchedOffKindIsWrittenApart) {
  port_ = std::make_unique<KernelTunPort>(FileDescriptor(fcntl(queue_, F_DUPFD_CLOEXEC, 0)),
                                          Coalescer::Kinds{.tcp = true, .udp = false});
  Write(Pair(6, 1000));
  EXPECT_EQ(Received().size(), 1U);
  const auto udp = Pair(17, 1000);
  Write(udp);
  EXPECT_EQ(Packets(), udp);
}

TEST_F(TunPortTest, ARefusedSuperPacketIsWrittenApartAndAfterSomeTheyAreNotTried) {
  const auto packets = Pair(6, kLarge);
  for (uint32_t i = 0; i < OffloadBackoff::kRefusalsBeforePause; ++i) {
    EXPECT_FALSE(port_->tcp_joining().is_pausing());
    Write(packets);
    EXPECT_EQ(Packets(), packets);
  }
  EXPECT_TRUE(port_->tcp_joining().is_pausing());
  EXPECT_EQ(port_->tcp_joining().last_error(), EMSGSIZE);
  EXPECT_FALSE(port_->udp_joining().is_pausing());
  Write(Pair(6, 100));
  EXPECT_EQ(Received().size(), 2U) << "joined during the pause";
  Write(Pair(17, 100));
  EXPECT_EQ(Received().size(), 1U) << "UDP is another matter";
  for (uint32_t i = 0; i < OffloadBackoff::kFirstPause; ++i) {
    Write(Pair(6, 100));
    (void)Received();
  }
  EXPECT_FALSE(port_->tcp_joining().is_pausing());
  Write(Pair(6, 100));
  EXPECT_EQ(Received().size(), 1U) << "joined again";
  EXPECT_EQ(drops_.value(DropReason::rx_tun_error) + drops_.value(DropReason::rx_tun_full), 0U);
}

TEST_F(TunPortTest, CountsWhatAFullQueueDoesNotTake) {
  std::vector<Bytes> packets;
  for (int i = 0; i < 1000; ++i) {
    packets.push_back(MakePacket({.protocol = 1}, MakePayload(500, static_cast<uint8_t>(i))));
  }
  Write(packets);
  const uint64_t full = drops_.value(DropReason::rx_tun_full);
  EXPECT_GT(full, 0U);
  EXPECT_EQ(Packets().size() + full, packets.size());
  EXPECT_EQ(drops_.value(DropReason::rx_tun_error), 0U);
}

TEST_F(TunPortTest, AFullQueueIsNoRefusalOfSuperPackets) {
  std::vector<Bytes> fill(100, MakePacket({.protocol = 1}, MakePayload(500)));
  Write(fill);
  const uint64_t before = drops_.value(DropReason::rx_tun_full);
  for (int i = 0; i < 10; ++i) Write(Pair(6, 1000));
  EXPECT_EQ(drops_.value(DropReason::rx_tun_full), before + 20);
  EXPECT_EQ(port_->tcp_joining().refusals(), 0U);
}

TEST(TunPort, CountsEachPacketThatTheDeviceRefusesOnce) {
  KernelTunPort port(FileDescriptor(open("/dev/null", O_RDONLY | O_CLOEXEC)), Coalescer::Kinds{});
  DropCounters drops;
  for (const uint8_t protocol : {6, 17, 1}) {
    port.Write(Batch(Pair(protocol, 1000)).views(), drops);
  }
  EXPECT_EQ(drops.value(DropReason::rx_tun_error), 6U);
  EXPECT_EQ(drops.value(DropReason::rx_tun_full), 0U);
  EXPECT_EQ(port.tcp_joining().refusals(), 0U) << "nothing goes: not the super-packets' fault";
  EXPECT_FALSE(port.Read()) << "the end of a file is no packet";
}

TEST_F(TunPortTest, ReadsWhatTheKernelMayHandOutAndLeavesTheJudgementToTheSegmenter) {
  const auto read = [&](VirtioHeader header, size_t bytes) {
    Bytes frame(sizeof(header) + bytes, 0x45);
    std::memcpy(frame.data(), &header, sizeof(header));
    EXPECT_EQ(write(host_.get(), frame.data(), frame.size()), static_cast<ssize_t>(frame.size()));
    return port_->Read();
  };
  EXPECT_EQ(read({.gso_type = VirtioHeader::kGsoTcp6 | VirtioHeader::kGsoEcn}, 60)->offload.kind,
            Offload::Kind::kTcp6);
  EXPECT_EQ(read({.gso_type = 3}, 60)->offload.kind, Offload::Kind::kUnknown);
  EXPECT_TRUE(read({}, 0)->bytes.empty());
  EXPECT_EQ(write(host_.get(), "short", 5), 5);
  EXPECT_FALSE(port_->Read());
}

}  // namespace
}  // namespace omni
