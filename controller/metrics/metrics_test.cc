// SPDX-License-Identifier: Apache-2.0
#include "controller/metrics/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <string>

#include "common/status.h"
#include "controller/core/testing.h"

namespace omni {
namespace {

using ::testing::HasSubstr;

// A listening socket on a port of the kernel's choice.
class TakenPort {
 public:
  TakenPort() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    // SAFETY: sockaddr_in is one of the types behind sockaddr.
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(fd_, raw, length), 0);
    EXPECT_EQ(listen(fd_, 1), 0);
    EXPECT_EQ(getsockname(fd_, raw, &length), 0);
    port_ = ntohs(address.sin_port);
  }
  ~TakenPort() { Free(); }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  void Free() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  uint16_t port() const { return port_; }
  std::string text() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int fd_;
  uint16_t port_ = 0;
};

std::string Fetch(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  std::string out;
  // SAFETY: as above.
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    EXPECT_EQ(write(fd, request.data(), request.size()), static_cast<ssize_t>(request.size()));
    char buffer[4096];
    for (ssize_t n = 0; (n = read(fd, buffer, sizeof(buffer))) > 0;) {
      out.append(buffer, static_cast<size_t>(n));
    }
  }
  close(fd);
  return out;
}

class MetricsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    a_.AddToConfig(b_.Spec());
    ASSERT_TRUE(a_.StartController().ok());
    a_.dataplane.Connect();
    ASSERT_TRUE(loop_.RunUntil([&] { return a_.Connected(); }));
    auto& peer = *a_.dataplane.counters.add_peers();
    peer.set_peer_id(b_.identity.node_id().ToBytes());
    peer.set_tx_bytes(1234);
  }
  TestLoop loop_;
  TestNode a_{loop_, "a", 1};
  TestNode b_{loop_, "b", 2};
};

TEST_F(MetricsTest, ServesWhatTheControllerAndTheDataplaneCount) {
  TakenPort port;
  port.Free();
  auto server = MetricsServer::Start(loop_.io, *a_.controller, port.text());
  ASSERT_TRUE(server.ok()) << server.status();
  auto page = std::async(std::launch::async, [&] { return Fetch(port.port()); });
  ASSERT_TRUE(loop_.RunUntil(
      [&] { return page.wait_for(std::chrono::seconds(0)) == std::future_status::ready; }));
  const std::string text = page.get();
  EXPECT_THAT(text, HasSubstr("omni_dataplane_connected 1"));
  EXPECT_THAT(text, HasSubstr("omni_peer_tx_bytes_total{peer=\"b\",node_id=\"" +
                              b_.identity.node_id().ToString() + "\"} 1234"));
  EXPECT_THAT(text, HasSubstr("omni_controller_handshake_failures_total{reason=\"mac1\"} 0"));
}

TEST_F(MetricsTest, ATakenPortIsOneClearError) {
  const TakenPort port;
  const auto server = MetricsServer::Start(loop_.io, *a_.controller, port.text());
  EXPECT_EQ(Message(server.status()),
            "metrics: listen on " + port.text() + ": Address already in use");
}

}  // namespace
}  // namespace omni
