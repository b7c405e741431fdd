// SPDX-License-Identifier: Apache-2.0
// What becomes of single packets, over the contract.
#include "dataplane/api/test_service.h"

namespace omni {
namespace {

TEST_F(ServiceTest, ExplainsAPacketStepByStep) {
  const auto ask = [this](const std::string& address, uint32_t size) {
    v1::ExplainPacketRequest request;
    request.set_destination(address);
    request.set_size(size);
    request.set_protocol(17);
    v1::ExplainPacketResponse response;
    const grpc::Status status = stub_->ExplainPacket(Context().get(), request, &response);
    return std::pair(status, response);
  };
  const std::string to("\x0a\x4d\x00\x02", 4);
  EXPECT_EQ(ask("abc", 100).first.error_message(), "destination: is no address");
  EXPECT_EQ(ask(to, 19).first.error_message(), "size: 19 is not within 20-65535");
  auto [status, answer] = ask(std::string(4, 1), 100);
  EXPECT_TRUE(answer.peer_id().empty());
  EXPECT_EQ(answer.path(), "");
  ASSERT_EQ(answer.steps_size(), 1);
  EXPECT_EQ(answer.steps(0).text(), "no peer holds 1.1.1.1: dropped as tx_no_route");
  answer = ask(to, 100).second;
  EXPECT_EQ(answer.peer_id(), std::string(16, 'p'));
  EXPECT_EQ(answer.steps(0).text(), "10.77.0.2/32");
  EXPECT_EQ(answer.steps(1).text(), "none: the packet waits while the controller shakes hands");
  v1::InstallSessionResponse installed;
  ASSERT_TRUE(stub_->InstallSession(Context().get(), Session(), &installed).ok());
  answer = ask(to, 1300).second;
  EXPECT_EQ(answer.session_id(), std::string(16, 's'));
  EXPECT_EQ(answer.path(), "socket");
  EXPECT_EQ(answer.steps(2).text(), "at 1.1.1.1:9");
  EXPECT_EQ(answer.steps(3).text(), "no: there is no in-kernel path");
  EXPECT_THAT(answer.steps(4).text(), ::testing::HasSubstr("in pieces"));
  EXPECT_THAT(ask(to, 5000).second.steps(4).text(), ::testing::HasSubstr("above 1420"));
  FakePaths paths;
  hub_.SetPathControl(&paths);
  EXPECT_EQ(ask(to, 100).second.path(), "afxdp");
  hub_.SetPathControl(nullptr);
}

TEST_F(ServiceTest, ATraceTellsHowManyPacketsXdpDroppedAndWhy) {
  const auto read = [&] {
    v1::ReadTraceRequest request;
    v1::ReadTraceResponse response;
    request.set_token(7);
    EXPECT_TRUE(stub_->ReadTrace(Context().get(), request, &response).ok());
    return response;
  };
  EXPECT_EQ(read().packets_size(), 0) << "what was dropped before";
  xdp_drops_ += 3;
  const v1::ReadTraceResponse told = read();
  ASSERT_EQ(told.packets_size(), static_cast<int>(kDropReasons));
  EXPECT_EQ(told.packets(0).verdict(), kDropReasonInfo[0].name);
  EXPECT_EQ(told.packets(0).packets(), 3U);
  EXPECT_EQ(told.packets(0).path(), "xdp");
  EXPECT_EQ(read().packets_size(), 0) << "told once";
}

TEST_F(ServiceTest, ATraceRunsWhileItIsAskedFor) {
  v1::ReadTraceRequest request;
  v1::ReadTraceResponse response;
  EXPECT_EQ(stub_->ReadTrace(Context().get(), request, &response).error_message(), "token: is 0");
  request.set_token(7);
  request.set_peer_id(std::string(16, 'q'));
  EXPECT_EQ(stub_->ReadTrace(Context().get(), request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
  EXPECT_FALSE(worker_->trace().is_on());
  request.clear_peer_id();
  EXPECT_TRUE(stub_->ReadTrace(Context().get(), request, &response).ok());
  EXPECT_TRUE(worker_->trace().is_on());
  EXPECT_EQ(response.packets_size(), 0);
  wire_.Put({.bytes = std::vector<uint8_t>(40, OMNI_MSG_DATA),
             .from = *Endpoint::Parse("192.0.2.9:9"),
             .to = *Endpoint::Parse("192.0.2.1:1")});
  worker_->RunOnce(Now());
  EXPECT_TRUE(stub_->ReadTrace(Context().get(), request, &response).ok());
  ASSERT_EQ(response.packets_size(), 1);
  EXPECT_EQ(response.packets(0).verdict(), "rx_unknown_channel");
  EXPECT_EQ(response.packets(0).source_port(), 9U);
  EXPECT_FALSE(response.packets(0).outgoing());
  service_->Tick(Now() + std::chrono::seconds(4));
  EXPECT_TRUE(worker_->trace().is_on());
  service_->Tick(Now() + std::chrono::seconds(6));
  EXPECT_FALSE(worker_->trace().is_on()) << "nobody asks any more";
}

}  // namespace
}  // namespace omni
