// SPDX-License-Identifier: Apache-2.0
// The kernel's sockets on the loopback interface.
#include "dataplane/io/udp_port.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <span>
#include <vector>

namespace omni {
namespace {

// A port number that is free in both families.
uint16_t FreePort() {
  const FileDescriptor fd(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  socklen_t length = Endpoint{*IpAddress::Parse("::"), 0}.ToSockaddr(&storage);
  // SAFETY: sockaddr_storage is made to be seen as any sockaddr.
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  EXPECT_EQ(bind(fd.get(), address, length), 0);
  length = sizeof(storage);
  EXPECT_EQ(getsockname(fd.get(), address, &length), 0);
  return Endpoint::FromSockaddr(address)->port;
}

void SendTo(const Endpoint& to, int count) {
  sockaddr_storage storage{};
  const socklen_t length = to.ToSockaddr(&storage);
  const FileDescriptor fd(
      socket(to.address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  for (int i = 0; i < count; ++i) {
    // SAFETY: as above.
    ASSERT_EQ(sendto(fd.get(), "x", 1, 0, reinterpret_cast<sockaddr*>(&storage), length), 1);
  }
}

void ExpectHeardSoon(const char* flooded, const char* other) {
  const uint16_t port = FreePort();
  auto bound = KernelUdpPort::Bind(port, 1, KernelUdpPort::Gro::kOn);
  ASSERT_TRUE(bound.ok()) << bound.status();
  ASSERT_TRUE(bound->workers[0].v6.is_open());
  KernelUdpPort udp(std::move(bound->workers[0]), KernelUdpPort::Gso::kOn);
  SendTo({*IpAddress::Parse(flooded), port}, 100);
  SendTo({*IpAddress::Parse(other), port}, 1);
  DropCounters drops;
  std::array<ReceivedDatagram, 8> batch;
  bool heard = false;
  for (int call = 0; call < 3; ++call) {
    const size_t count = udp.Receive(batch, drops);
    for (const ReceivedDatagram& datagram : std::span(batch).first(count)) {
      heard |= datagram.path.remote.address == *IpAddress::Parse(other);
    }
  }
  EXPECT_TRUE(heard) << flooded << " floods";
}

TEST(KernelUdpPort, AFloodOverOneFamilyDoesNotKeepTheOtherFromBeingRead) {
  ExpectHeardSoon("127.0.0.1", "::1");
  ExpectHeardSoon("::1", "127.0.0.1");
}

// A port that sends to a receiver on the loopback interface.
class SendingTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kSegments = 10;
  static constexpr uint32_t kSegmentBytes = 1000;

  void SetUp() override {
    auto to = KernelUdpPort::Bind(port_, 1, KernelUdpPort::Gro::kOff);
    ASSERT_TRUE(to.ok()) << to.status();
    receiver_ =
        std::make_unique<KernelUdpPort>(std::move(to->workers[0]), KernelUdpPort::Gso::kOff);
    MakeSender(KernelUdpPort::Gso::kOn);
  }
  void MakeSender(KernelUdpPort::Gso gso) {
    KernelUdpPort::Sockets sockets;
    sockets.v4 = FileDescriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    socket_ = sockets.v4.get();
    sender_ = std::make_unique<KernelUdpPort>(std::move(sockets), gso);
  }
  // The kernel makes no train without checksums, and refuses it with EINVAL.
  void SetChecksums(int off) const {
    ASSERT_EQ(setsockopt(socket_, SOL_SOCKET, SO_NO_CHECK, &off, sizeof(off)), 0);
  }
  // Sends one train and expects it, each datagram as it should be.
  void SendAndExpectAll() {
    std::vector<uint8_t> bytes(kSegments * kSegmentBytes - 7);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(++fill_ * 31);
    Train train{.path = {.remote = {*IpAddress::Parse("127.0.0.1"), port_}},
                .data = bytes.data(),
                .bytes = static_cast<uint32_t>(bytes.size()),
                .segment_bytes = kSegmentBytes,
                .segments = kSegments};
    sender_->Send({&train, 1}, drops_);
    std::vector<uint8_t> got;
    uint32_t datagrams = 0;
    std::array<ReceivedDatagram, 8> batch;
    while (const size_t count = receiver_->Receive(batch, drops_)) {
      for (const ReceivedDatagram& datagram : std::span(batch).first(count)) {
        got.insert(got.end(), datagram.bytes.begin(), datagram.bytes.end());
        ++datagrams;
      }
    }
    EXPECT_EQ(datagrams, kSegments);
    EXPECT_EQ(got, bytes);
  }

  const uint16_t port_ = FreePort();
  std::unique_ptr<KernelUdpPort> receiver_;
  std::unique_ptr<KernelUdpPort> sender_;
  int socket_ = -1;  // the sender's
  DropCounters drops_;
  uint8_t fill_ = 0;
};

TEST_F(SendingTest, ATrainArrivesAsDatagramsWithTheSwitchOnAndOff) {
  SendAndExpectAll();
  MakeSender(KernelUdpPort::Gso::kOff);
  SetChecksums(1);  // would be refused
  SendAndExpectAll();
  EXPECT_EQ(sender_->gso().refusals(), 0U);
}

TEST_F(SendingTest, ARefusedTrainLosesNothingAndAfterSomeTheyAreNotTried) {
  SetChecksums(1);
  for (uint32_t i = 0; i < OffloadBackoff::kRefusalsBeforePause; ++i) {
    EXPECT_FALSE(sender_->gso().is_pausing());
    SendAndExpectAll();
  }
  EXPECT_TRUE(sender_->gso().is_pausing());
  EXPECT_EQ(sender_->gso().last_error(), EINVAL);
  for (uint32_t i = 0; i < OffloadBackoff::kFirstPause; ++i) SendAndExpectAll();
  EXPECT_EQ(sender_->gso().refusals(), OffloadBackoff::kRefusalsBeforePause);
  SendAndExpectAll();
  EXPECT_EQ(sender_->gso().refusals(), OffloadBackoff::kRefusalsBeforePause + 1);
  SetChecksums(0);
  for (uint32_t i = 0; i <= 2 * OffloadBackoff::kFirstPause; ++i) SendAndExpectAll();
  EXPECT_FALSE(sender_->gso().is_pausing());
  EXPECT_EQ(drops_.value(DropReason::tx_socket_error), 0U);
}

TEST_F(SendingTest, CountsWhatTheKernelDoesNotSendToAnAddress) {
  std::vector<uint8_t> bytes(3000);
  const auto send = [&](const char* to) {
    const Train train{.path = {.remote = {*IpAddress::Parse(to), port_}},
                      .data = bytes.data(),
                      .bytes = 3000,
                      .segment_bytes = 1000,
                      .segments = 3};
    sender_->Send({&train, 1}, drops_);
    return drops_.value(DropReason::tx_socket_error);
  };
  EXPECT_EQ(send("255.255.255.255"), 3U);  // not without SO_BROADCAST
  EXPECT_EQ(send("::1"), 6U);              // no socket of this family
  EXPECT_EQ(sender_->gso().refusals(), 0U) << "the address was refused, not the train";
}

TEST_F(SendingTest, ReceivesEmptyAndLargestDatagramsAsTheyAre) {
  std::vector<uint8_t> bytes(65'507, 7);
  sockaddr_storage storage{};
  const socklen_t length = Endpoint{*IpAddress::Parse("127.0.0.1"), port_}.ToSockaddr(&storage);
  for (const size_t size : {size_t{0}, size_t{1}, bytes.size()}) {
    // SAFETY: sockaddr_storage is made to be seen as any sockaddr.
    ASSERT_EQ(sendto(socket_, bytes.data(), size, 0, reinterpret_cast<sockaddr*>(&storage), length),
              static_cast<ssize_t>(size));
    std::array<ReceivedDatagram, 8> batch;
    ASSERT_EQ(receiver_->Receive(batch, drops_), 1U);
    EXPECT_EQ(batch[0].bytes.size(), size);
    EXPECT_EQ(batch[0].segment_bytes, size);
  }
}

}  // namespace
}  // namespace omni
