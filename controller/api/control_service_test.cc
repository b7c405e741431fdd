// SPDX-License-Identifier: Apache-2.0
#include "controller/api/control_service.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "common/status.h"
#include "controller/api/test_service.h"

namespace omni {
namespace {

namespace api = control::v1;
namespace dp = dataplane::v1;
using ::testing::HasSubstr;

class ControlServiceTest : public ServedControllerTest {
 protected:
  grpc::Status Ping(const api::PingRequest& request, std::vector<api::PingResult>& results) {
    auto done = std::async(std::launch::async, [&] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(15));
      auto reader = stub_->Ping(&context, request);
      api::PingResult result;
      while (reader->Read(&result)) results.push_back(result);
      return reader->Finish();
    });
    EXPECT_TRUE(Wait(done));
    return done.get();
  }
  api::AddPeerRequest ValidPeer() const {
    api::AddPeerRequest request;
    request.set_name("c");
    request.set_key(c_.identity.public_key().ToString());
    request.set_endpoint("192.0.2.3:51900");
    request.add_allowed("10.77.0.3/32");
    return request;
  }
};

TEST_F(ControlServiceTest, ShowsTheNode) {
  api::GetStatusResponse status;
  ASSERT_TRUE(Call(&api::Control::Stub::GetStatus, api::GetStatusRequest(), status).ok());
  EXPECT_EQ(status.name(), "a");
  EXPECT_EQ(status.node_id(), a_.identity.node_id().ToString());
  EXPECT_EQ(status.key(), a_.identity.public_key().ToString());
  EXPECT_EQ(status.addresses(0), "10.77.0.1/24");
  EXPECT_TRUE(status.dataplane().connected());
  EXPECT_EQ(status.dataplane().version(), "fake");
  EXPECT_EQ(status.dataplane().generation(), 1U);
  EXPECT_EQ(status.controller().peers(), 1U);
  EXPECT_EQ(status.controller().peers_up(), 0U);
}

TEST_F(ControlServiceTest, ShowsTheFeaturesAsTheyAreNow) {
  api::GetStatusResponse status;
  ASSERT_TRUE(Call(&api::Control::Stub::GetStatus, api::GetStatusRequest(), status).ok());
  ASSERT_EQ(status.dataplane().features_size(), 1);
  EXPECT_TRUE(status.dataplane().features(0).active());
  a_.dataplane.refuses_udp_gso = true;
  ASSERT_TRUE(Call(&api::Control::Stub::GetStatus, api::GetStatusRequest(), status).ok());
  EXPECT_FALSE(status.dataplane().features(0).active());
  EXPECT_EQ(status.dataplane().features(0).refusals(), 3U);
}

TEST_F(ControlServiceTest, NamesTheFieldOfEveryWrongPeer) {
  struct Case {
    std::string field;
    std::function<void(api::AddPeerRequest&)> spoil;
  };
  const std::vector<Case> cases = {
      {"name: ", [](auto& r) { r.clear_name(); }},
      {"name: ", [](auto& r) { r.set_name("C"); }},
      {"name: ", [](auto& r) { r.set_name(std::string(64, 'c')); }},
      {"key: ", [](auto& r) { r.clear_key(); }},
      {"key: ", [](auto& r) { r.set_key("omni1AAAA"); }},
      {"key: ", [this](auto& r) { r.set_key(a_.identity.public_key().ToString()); }},
      {"endpoint: ", [](auto& r) { r.set_endpoint("192.0.2.3"); }},
      {"endpoint: ", [](auto& r) { r.set_endpoint("host:51900"); }},
      {"endpoint: ", [](auto& r) { r.set_endpoint("0.0.0.0:51900"); }},
      {"allowed: ", [](auto& r) { r.clear_allowed(); }},
      {"allowed[1]: ", [](auto& r) { r.add_allowed("10.77.0.3/24"); }},
      {"allowed[1]: ", [](auto& r) { r.add_allowed("10.77.0.3/32"); }},
      {"allowed[1]: ", [](auto& r) { r.add_allowed("10.77.0.1/32"); }},
      {"psk: ", [](auto& r) { r.set_psk("short"); }},
      {"persistent_keepalive_s: ", [](auto& r) { r.set_persistent_keepalive_s(65536); }},
  };
  for (const Case& c : cases) {
    api::AddPeerRequest request = ValidPeer();
    c.spoil(request);
    api::Peer peer;
    const grpc::Status status = Call(&api::Control::Stub::AddPeer, request, peer);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << request.DebugString();
    EXPECT_EQ(status.error_message().rfind(c.field, 0), 0U) << status.error_message();
  }
  EXPECT_EQ(a_.controller->peers().size(), 1U);
}

TEST_F(ControlServiceTest, AddsShowsAndRemovesAPeer) {
  api::Peer peer;
  ASSERT_TRUE(Call(&api::Control::Stub::AddPeer, ValidPeer(), peer).ok());
  EXPECT_EQ(peer.origin(), api::PEER_ORIGIN_API);
  ASSERT_TRUE(Call(&api::Control::Stub::AddPeer, ValidPeer(), peer).ok()) << "again";
  api::AddPeerRequest other = ValidPeer();
  other.set_endpoint("192.0.2.9:51900");
  EXPECT_EQ(Call(&api::Control::Stub::AddPeer, other, peer).error_code(),
            grpc::StatusCode::ALREADY_EXISTS);

  api::ListPeersResponse list;
  ASSERT_TRUE(Call(&api::Control::Stub::ListPeers, api::ListPeersRequest(), list).ok());
  ASSERT_EQ(list.peers_size(), 2);
  EXPECT_EQ(list.peers(0).name(), "b");
  EXPECT_EQ(list.peers(0).state(), api::PEER_STATE_IDLE);
  EXPECT_EQ(list.peers(1).configured_endpoint(), "192.0.2.3:51900");

  api::RemovePeerRequest remove;
  api::RemovePeerResponse removed;
  remove.set_peer("c");
  EXPECT_TRUE(Call(&api::Control::Stub::RemovePeer, remove, removed).ok());
  EXPECT_EQ(Call(&api::Control::Stub::RemovePeer, remove, removed).error_code(),
            grpc::StatusCode::NOT_FOUND);
  remove.set_peer("b");
  EXPECT_EQ(Call(&api::Control::Stub::RemovePeer, remove, removed).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST_F(ControlServiceTest, ChecksThePeerOfEveryCall) {
  struct Case {
    std::string peer;
    grpc::StatusCode code;
  };
  const std::vector<Case> cases = {{"", grpc::StatusCode::INVALID_ARGUMENT},
                                   {"No Name", grpc::StatusCode::INVALID_ARGUMENT},
                                   {"nobody", grpc::StatusCode::NOT_FOUND},
                                   {std::string(32, '0'), grpc::StatusCode::NOT_FOUND}};
  for (const Case& c : cases) {
    api::Peer peer;
    api::GetPeerRequest get;
    get.set_peer(c.peer);
    grpc::Status status = Call(&api::Control::Stub::GetPeer, get, peer);
    EXPECT_EQ(status.error_code(), c.code) << c.peer;
    EXPECT_THAT(status.error_message(), HasSubstr("peer: "));
    api::RemovePeerRequest remove;
    api::RemovePeerResponse removed;
    remove.set_peer(c.peer);
    EXPECT_EQ(Call(&api::Control::Stub::RemovePeer, remove, removed).error_code(), c.code);
    api::PingRequest ping;
    std::vector<api::PingResult> results;
    ping.set_peer(c.peer);
    EXPECT_EQ(Ping(ping, results).error_code(), c.code);
  }
}

TEST_F(ControlServiceTest, ChecksEveryArgumentOfAPing) {
  struct Case {
    std::string field;
    std::function<void(api::PingRequest&)> spoil;
  };
  const std::vector<Case> cases = {
      {"count: ", [](auto& r) { r.set_count(1'000'001); }},
      {"interval: ", [](auto& r) { r.mutable_interval()->set_nanos(999'999); }},
      {"interval: ", [](auto& r) { r.mutable_interval()->set_seconds(-1); }},
      {"interval: ", [](auto& r) { r.mutable_interval()->set_nanos(1'000'000'000); }},
      {"timeout: ", [](auto& r) { r.mutable_timeout(); }},
      {"timeout: ", [](auto& r) { r.mutable_timeout()->set_seconds(INT64_MAX); }},
      {"size: ", [](auto& r) { r.set_size(23); }},
      {"size: ", [](auto& r) { r.set_size(64925); }},
  };
  for (const Case& c : cases) {
    api::PingRequest request;
    request.set_peer("b");
    c.spoil(request);
    std::vector<api::PingResult> results;
    const grpc::Status status = Ping(request, results);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << request.DebugString();
    EXPECT_EQ(status.error_message().rfind(c.field, 0), 0U) << status.error_message();
  }
}

TEST_F(ControlServiceTest, PingShakesHandsAndMeasures) {
  api::PingRequest request;
  request.set_peer("b");
  request.set_count(3);
  request.mutable_interval()->set_nanos(1'000'000);
  std::vector<api::PingResult> results;
  ASSERT_TRUE(Ping(request, results).ok());
  ASSERT_EQ(results.size(), 3U);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(results[i].sequence(), i + 1);
    EXPECT_EQ(results[i].rtt().nanos(), 1'500'000);
  }
  api::GetPeerRequest get;
  get.set_peer(b_.identity.node_id().ToString());
  api::Peer peer;
  ASSERT_TRUE(Call(&api::Control::Stub::GetPeer, get, peer).ok());
  EXPECT_EQ(peer.state(), api::PEER_STATE_UP);
  EXPECT_EQ(peer.rtt().nanos(), 1'500'000);
  EXPECT_TRUE(peer.has_last_handshake_age());

  api::ListSessionsResponse sessions;
  ASSERT_TRUE(Call(&api::Control::Stub::ListSessions, api::ListSessionsRequest(), sessions).ok());
  ASSERT_EQ(sessions.sessions_size(), 1);
  EXPECT_EQ(sessions.sessions(0).peer(), "b");
  EXPECT_EQ(sessions.sessions(0).role(), "initiator");
  EXPECT_EQ(sessions.sessions(0).slot(), "current");
}

TEST_F(ControlServiceTest, PingSaysWhyAnEchoIsLost) {
  a_.dataplane.answers_echoes = false;
  b_.dataplane.Disconnect();
  api::PingRequest request;
  request.set_peer("b");
  request.set_count(1);
  request.mutable_timeout()->set_nanos(20'000'000);
  std::vector<api::PingResult> results;
  ASSERT_TRUE(Ping(request, results).ok());
  ASSERT_EQ(results.size(), 1U);
  EXPECT_THAT(results[0].lost(), HasSubstr("no session"));
}

TEST_F(ControlServiceTest, ACancelledPingEnds) {
  auto done = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    api::PingRequest request;
    request.set_peer("b");
    request.set_count(1'000'000);
    request.mutable_interval()->set_nanos(1'000'000);
    auto reader = stub_->Ping(&context, request);
    api::PingResult result;
    reader->Read(&result);
    context.TryCancel();
    while (reader->Read(&result)) {
    }
    return reader->Finish();
  });
  ASSERT_TRUE(Wait(done));
  EXPECT_EQ(done.get().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ControlServiceTest, SaysUnavailableWhenTheDataplaneIsNeeded) {
  dp::Counter& drop = *a_.dataplane.counters.add_drops();
  drop.set_name("rx_bad_tag");
  drop.set_value(7);
  api::GetDropsResponse drops;
  ASSERT_TRUE(Call(&api::Control::Stub::GetDrops, api::GetDropsRequest(), drops).ok());
  EXPECT_EQ(drops.drops(0).reason(), "rx_bad_tag");
  EXPECT_EQ(drops.drops(0).packets(), 7U);
  a_.dataplane.Disconnect();
  ASSERT_TRUE(loop_.RunUntil([&] { return !a_.Connected(); }));
  EXPECT_EQ(Call(&api::Control::Stub::GetDrops, api::GetDropsRequest(), drops).error_code(),
            grpc::StatusCode::UNAVAILABLE);
  api::ListSessionsResponse sessions;
  EXPECT_EQ(
      Call(&api::Control::Stub::ListSessions, api::ListSessionsRequest(), sessions).error_code(),
      grpc::StatusCode::UNAVAILABLE);
  api::PingRequest ping;
  ping.set_peer("b");
  std::vector<api::PingResult> results;
  EXPECT_EQ(Ping(ping, results).error_code(), grpc::StatusCode::UNAVAILABLE);
  api::ListPeersResponse peers;
  EXPECT_TRUE(Call(&api::Control::Stub::ListPeers, api::ListPeersRequest(), peers).ok());
  api::GetStatusResponse status;
  ASSERT_TRUE(Call(&api::Control::Stub::GetStatus, api::GetStatusRequest(), status).ok());
  EXPECT_FALSE(status.dataplane().connected());
  EXPECT_EQ(status.dataplane().error(), "gone");
}

TEST_F(ControlServiceTest, AReloadThatFailsStaysVisible) {
  api::ReloadResponse response;
  const grpc::Status status = Call(&api::Control::Stub::Reload, api::ReloadRequest(), response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("controller.toml"));
  api::GetStatusResponse shown;
  ASSERT_TRUE(Call(&api::Control::Stub::GetStatus, api::GetStatusRequest(), shown).ok());
  EXPECT_EQ(shown.controller().last_reload_error(), status.error_message());
}

TEST_F(ControlServiceTest, ReflectionListsTheService) {
  auto done = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    // ServerReflectionRequest{list_services: "*"}; a stream with one message either way is a call.
    const grpc::Slice slice("\x3a\x01*", 3);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    const grpc::internal::RpcMethod method(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        grpc::internal::RpcMethod::NORMAL_RPC, channel_);
    const grpc::Status status =
        grpc::internal::BlockingUnaryCall(channel_.get(), method, &context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::vector<grpc::Slice> slices;
    response.Dump(&slices);
    std::string text;
    for (const grpc::Slice& s : slices) text.append(s.begin(), s.end());
    return text;
  });
  ASSERT_TRUE(Wait(done));
  EXPECT_THAT(done.get(), HasSubstr("omni.control.v1.Control"));
}

TEST_F(ControlServiceTest, SetsPathsAndShowsWhoSaidWhat) {
  api::SetPathsRequest request;
  api::Paths paths;
  request.mutable_say()->set_xdp("native,eth0=fast");
  grpc::Status status = Call(&api::Control::Stub::SetPaths, request, paths);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("xdp: \"fast\" is none of"));
  EXPECT_FALSE(a_.dataplane.paths.has_xdp());
  request.mutable_say()->set_xdp("native,eth0=off");
  request.mutable_say()->set_in_kernel("on");
  status = Call(&api::Control::Stub::SetPaths, request, paths);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(paths.api().xdp(), "native,eth0=off");
  EXPECT_EQ(paths.in_force().xdp(), "native,eth0=off") << "the dataplane goes by it already";
  EXPECT_EQ(paths.in_force().in_kernel(), "on");
  EXPECT_EQ(paths.path(), "socket");
  EXPECT_EQ(paths.features_size(), 0) << "offloads are none";
  request.Clear();
  request.set_reset(true);
  ASSERT_TRUE(Call(&api::Control::Stub::SetPaths, request, paths).ok());
  EXPECT_EQ(paths.api().ShortDebugString(), "");
  a_.dataplane.Disconnect();
  request.mutable_say()->set_path("afxdp");
  ASSERT_TRUE(Call(&api::Control::Stub::SetPaths, request, paths).ok()) << "kept for later";
  EXPECT_FALSE(paths.has_in_force());
  EXPECT_EQ(paths.api().path(), "afxdp");
}

TEST_F(ControlServiceTest, ExplainsAPacketByThePeersName) {
  api::ExplainPacketRequest request;
  api::ExplainPacketResponse response;
  const auto refused = [&](const char* why) {
    const grpc::Status status = Call(&api::Control::Stub::ExplainPacket, request, response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(status.error_message(), why);
  };
  refused("destination: \"\" is no IP address");
  request.set_destination("fd77::2");
  request.set_size(39);
  refused("size: 39 is not within 40-65535");
  request.set_size(0);
  request.set_protocol("sctp");
  refused("protocol: \"sctp\" is none of icmp, udp, tcp, nor within 0-255");
  request.set_protocol("");
  a_.dataplane.explanation.set_peer_id(b_.identity.node_id().ToBytes());
  a_.dataplane.explanation.set_session_id("\x01\xff");
  a_.dataplane.explanation.set_path("kernel");
  a_.dataplane.explanation.add_steps()->set_name("route");
  ASSERT_TRUE(Call(&api::Control::Stub::ExplainPacket, request, response).ok());
  EXPECT_EQ(response.peer(), "b");
  EXPECT_EQ(response.session_id(), "01ff");
  EXPECT_EQ(response.path(), "kernel");
  EXPECT_EQ(response.steps(0).name(), "route");
  const dp::ExplainPacketRequest& asked = a_.dataplane.explained.back();
  EXPECT_EQ(asked.size(), 84U);
  EXPECT_EQ(asked.protocol(), 58U) << "ICMP of IPv6";
}

TEST_F(ControlServiceTest, StreamsATraceUntilItHasEnough) {
  for (int i = 0; i < 2; ++i) {
    dp::ReadTraceResponse answer;
    answer.set_kernel_tx(static_cast<uint64_t>(i) + 5);
    for (int j = 0; j < 2; ++j) {
      dp::TracedPacket& packet = *answer.add_packets();
      packet.set_peer_id(b_.identity.node_id().ToBytes());
      packet.set_source("\x0a\x4d\x01\x02");
      packet.set_source_port(80);
      packet.set_protocol(6);
      packet.set_verdict("rx_replayed");
      packet.set_dropped(true);
    }
    a_.dataplane.traces.push_back(answer);
  }
  const auto trace = [&](const api::TraceRequest& request, std::vector<api::TraceResult>& results) {
    auto done = std::async(std::launch::async, [&] {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(15));
      auto reader = stub_->Trace(&context, request);
      api::TraceResult result;
      while (reader->Read(&result)) results.push_back(result);
      return reader->Finish();
    });
    EXPECT_TRUE(Wait(done));
    return done.get();
  };
  api::TraceRequest request;
  std::vector<api::TraceResult> results;
  request.set_peer("nobody");
  EXPECT_EQ(trace(request, results).error_code(), grpc::StatusCode::NOT_FOUND);
  request.set_peer("b");
  request.set_packets(3);
  request.set_drops_only(true);
  ASSERT_TRUE(trace(request, results).ok());
  ASSERT_EQ(results.size(), 4U) << "three packets, and a last word";
  EXPECT_EQ(results[2].packet().peer(), "b");
  EXPECT_EQ(results[2].packet().source(), "10.77.1.2:80");
  EXPECT_EQ(results[2].packet().protocol(), "tcp");
  EXPECT_TRUE(results[2].packet().dropped());
  EXPECT_FALSE(results[3].has_packet());
  EXPECT_EQ(results[3].kernel_tx(), 6U);
  ASSERT_EQ(a_.dataplane.traced.size(), 2U);
  EXPECT_NE(a_.dataplane.traced[0].token(), 0U);
  EXPECT_EQ(a_.dataplane.traced[0].token(), a_.dataplane.traced[1].token());
  EXPECT_EQ(a_.dataplane.traced[0].peer_id(), b_.identity.node_id().ToBytes());
  EXPECT_TRUE(a_.dataplane.traced[0].drops_only());
}

TEST_F(ControlServiceTest, StatsHaveDropsAndCounters) {
  dp::Counter& worker = *a_.dataplane.counters.add_workers();
  worker.set_name("wakeups");
  worker.set_value(7);
  a_.dataplane.counters.add_drops()->set_name("rx_bad_tag");
  a_.dataplane.counters.add_groups()->set_name("worker 0");
  a_.dataplane.counters.add_paths()->set_path("kernel");
  api::GetStatsResponse stats;
  ASSERT_TRUE(Call(&api::Control::Stub::GetStats, api::GetStatsRequest(), stats).ok());
  ASSERT_EQ(stats.counters_size(), 2);
  EXPECT_EQ(stats.counters(0).value(), 7U);
  EXPECT_FALSE(stats.counters(0).drop());
  EXPECT_TRUE(stats.counters(1).drop());
  EXPECT_EQ(stats.groups(0).name(), "worker 0");
  EXPECT_EQ(stats.paths(0).path(), "kernel");
}

}  // namespace
}  // namespace omni
