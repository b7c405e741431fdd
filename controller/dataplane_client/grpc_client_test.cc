// SPDX-License-Identifier: Apache-2.0
#include "controller/dataplane_client/grpc_client.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "common/rpc/unix_server.h"
#include "common/status.h"
#include "omni/dataplane/v1/dataplane.grpc.pb.h"

namespace omni {
namespace {

namespace dp = dataplane::v1;

// Serves a stream that says hello, then sends each packet that goes out back in.
class EchoingDataplane : public dp::Dataplane::Service {
 public:
  explicit EchoingDataplane(std::string boot_id) : boot_id_(std::move(boot_id)) {}

  grpc::Status Stream(
      grpc::ServerContext* /*context*/,
      grpc::ServerReaderWriter<dp::StreamResponse, dp::StreamRequest>* stream) override {
    dp::StreamResponse hello;
    hello.mutable_hello()->set_boot_id(boot_id_);
    stream->Write(hello);
    dp::StreamRequest request;
    while (stream->Read(&request)) {
      dp::StreamResponse response;
      *response.mutable_packet_in()->mutable_from() = request.packet_out().to();
      response.mutable_packet_in()->set_payload(request.packet_out().payload());
      stream->Write(response);
    }
    return grpc::Status::OK;
  }
  grpc::Status GetInfo(grpc::ServerContext* /*context*/, const dp::GetInfoRequest* /*request*/,
                       dp::GetInfoResponse* response) override {
    response->set_boot_id(boot_id_);
    return grpc::Status::OK;
  }

 private:
  const std::string boot_id_;
};

struct Recorder : DataplaneListener {
  void OnConnected(const std::string& boot_id) override { boots.push_back(boot_id); }
  void OnDisconnected(const absl::Status& why) override { ends.push_back(why); }
  void OnPacketIn(const dp::PacketIn& packet) override { packets.push_back(packet.payload()); }
  void OnEvent(const dp::Event& /*event*/) override {}
  std::vector<std::string> boots;
  std::vector<absl::Status> ends;
  std::vector<std::string> packets;
};

class GrpcClientTest : public ::testing::Test {
 protected:
  void Serve(const std::string& boot_id) {
    service_ = std::make_unique<EchoingDataplane>(boot_id);
    auto listener = UnixListener::Open({.path = socket_});
    ASSERT_TRUE(listener.ok()) << listener.status();
    auto server = UnixServer::Start(*std::move(listener), {}, {service_.get()});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  template <typename Condition>
  bool RunUntil(Condition condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop_.restart();
      loop_.run_one_for(std::chrono::milliseconds(100));
    }
    return true;
  }

  const std::string socket_ = std::filesystem::temp_directory_path() /
                              ("omni-client-" + std::to_string(getpid()) + ".sock");
  boost::asio::io_context loop_;
  Recorder recorder_;
  std::unique_ptr<EchoingDataplane> service_;
  std::unique_ptr<UnixServer> server_;
};

TEST_F(GrpcClientTest, ConnectsOnceTheSocketIsThereAndAgainAfterARestart) {
  GrpcDataplaneClient client(loop_, socket_);
  client.Start(&recorder_);
  ASSERT_TRUE(RunUntil([&] { return !recorder_.ends.empty(); }));
  EXPECT_EQ(recorder_.ends.front().code(), absl::StatusCode::kUnavailable);
  Serve("first");
  ASSERT_TRUE(RunUntil([&] { return recorder_.boots.size() == 1; }));
  server_.reset();
  const size_t ends = recorder_.ends.size();
  ASSERT_TRUE(RunUntil([&] { return recorder_.ends.size() > ends; }));
  Serve("second");
  ASSERT_TRUE(RunUntil([&] { return recorder_.boots.size() == 2; }));
  EXPECT_EQ(recorder_.boots, (std::vector<std::string>{"first", "second"}));
}

TEST_F(GrpcClientTest, CarriesDatagramsInOrderAndAnswersCalls) {
  Serve("boot");
  GrpcDataplaneClient client(loop_, socket_);
  client.Start(&recorder_);
  ASSERT_TRUE(RunUntil([&] { return !recorder_.boots.empty(); }));
  for (int i = 0; i < 100; ++i) {
    dp::PacketOut packet;
    packet.set_payload(std::to_string(i));
    client.SendPacket(packet);
  }
  ASSERT_TRUE(RunUntil([&] { return recorder_.packets.size() == 100; }));
  for (size_t i = 0; i < 100; ++i) EXPECT_EQ(recorder_.packets[i], std::to_string(i));

  std::string boot;
  client.GetInfo([&](const auto& info) { boot = info.ok() ? info->boot_id() : "error"; });
  absl::Status unimplemented;
  client.GetState([&](const auto& state) { unimplemented = state.status(); });
  ASSERT_TRUE(RunUntil([&] { return !boot.empty() && !unimplemented.ok(); }));
  EXPECT_EQ(boot, "boot");
  EXPECT_EQ(unimplemented.code(), absl::StatusCode::kUnimplemented);
}

TEST_F(GrpcClientTest, RefusesCallsWhileNotConnectedAndEndsWithoutCallbacks) {
  bool called = false;
  {
    GrpcDataplaneClient client(loop_, socket_);
    absl::Status status;
    client.GetInfo([&](const auto& info) { status = info.status(); });
    ASSERT_TRUE(RunUntil([&] { return !status.ok(); }));
    EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
    Serve("boot");
    client.Start(&recorder_);
    ASSERT_TRUE(RunUntil([&] { return !recorder_.boots.empty(); }));
    client.GetInfo([&](const auto&) { called = true; });
  }
  loop_.restart();
  loop_.poll();
  EXPECT_FALSE(called);
}

// The last reference to a channel must not go on a thread of gRPC's; which thread lets go last is a
// matter of chance.
TEST_F(GrpcClientTest, EndsAgainAndAgainWithACallUnderWay) {
  Serve("boot");
  for (int i = 0; i < 200; ++i) {
    recorder_.boots.clear();
    GrpcDataplaneClient client(loop_, socket_);
    client.Start(&recorder_);
    ASSERT_TRUE(RunUntil([&] { return !recorder_.boots.empty(); }));
    client.GetInfo([](const auto&) {});
  }
}

}  // namespace
}  // namespace omni
