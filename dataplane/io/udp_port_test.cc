// SPDX-License-Identifier: Apache-2.0
// The kernel's sockets on the loopback interface.
#include "dataplane/io/udp_port.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <span>

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
  auto sockets = KernelUdpPort::Bind(port, 1);
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  ASSERT_TRUE((*sockets)[0].v6.is_open());
  KernelUdpPort udp(std::move((*sockets)[0]));
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

}  // namespace
}  // namespace omni
