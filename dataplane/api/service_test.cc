// SPDX-License-Identifier: Apache-2.0
// The contract over a real unix socket: every invalid argument is refused by the name of its field
// and changes nothing; one stream at a time; reflection.
#include "dataplane/api/service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "common/rpc/unix_server.h"
#include "dataplane/worker/test_node.h"

namespace omni {
namespace {

namespace v1 = ::omni::dataplane::v1;

class FakeUnderlay final : public Underlay {
 public:
  uint32_t LargestMtu() const override { return mtu; }
  uint32_t MtuTowards(const IpAddress&) override { return mtu; }
  bool TakeChange() override { return false; }
  uint32_t mtu = 1500;
};

class FakeLink final : public LinkControl {
 public:
  absl::Status Apply(const LinkState&) override { return absl::OkStatus(); }
  bool TakeReset() override { return false; }
};

class ServiceTest : public ::testing::Test {
 protected:
  ServiceTest() {
    worker_ = std::make_unique<Worker>(Worker::Parts{
        .aead = *MakeAead(AeadBackend::kLibsodium),
        .udp = std::make_unique<MemoryUdpPort>(wire_, *Endpoint::Parse("192.0.2.1:1")),
        .tun = std::make_unique<MemoryTunPort>(),
        .reports = &hub_});
    worker_->SetSiblings({worker_.get()});
    hub_.SetWorkers({worker_.get()});
    service_ =
        std::make_unique<DataplaneService>(hub_, std::vector<const Worker*>{worker_.get()}, Info());
    path_ = std::filesystem::temp_directory_path() /
            ("omni-service-test-" + std::to_string(getpid()) + ".sock");
    auto listener = UnixListener::Open({.path = path_});
    EXPECT_TRUE(listener.ok()) << listener.status();
    auto server = UnixServer::Start(*std::move(listener), {}, {service_.get()});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::Dataplane::NewStub(Channel());
    EXPECT_TRUE(stub_->ApplyState(Context().get(), State(), &applied_).ok());
  }
  ~ServiceTest() override {
    service_->Shutdown();
    server_->Stop();
  }

  static DataplaneInfo Info() {
    return {.tun_name = "omni0",
            .ciphers = {{.ns_64 = 160, .ns_1420 = 520},
                        {.cipher = Cipher::kAes256Gcm,
                         .backend = AeadBackend::kIpsecMb,
                         .ns_64 = 60,
                         .ns_1420 = 200}}};
  }

  std::shared_ptr<grpc::Channel> Channel() const {
    return grpc::CreateChannel("unix:" + path_, grpc::InsecureChannelCredentials());
  }
  static std::unique_ptr<grpc::ClientContext> Context() {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return context;
  }

  static v1::ApplyStateRequest State(uint64_t generation = 1) {
    v1::ApplyStateRequest out;
    out.set_generation(generation);
    v1::Node* node = out.mutable_full()->mutable_node();
    node->set_mtu(1420);
    node->set_mac1_key(std::string(32, 'k'));
    v1::Prefix* address = node->add_addresses();
    address->set_address(std::string("\x0a\x4d\x00\x01", 4));
    address->set_length(24);
    v1::Peer* peer = out.mutable_full()->add_peers();
    peer->set_peer_id(std::string(16, 'p'));
    v1::Prefix* allowed = peer->add_allowed();
    allowed->set_address(std::string("\x0a\x4d\x00\x02", 4));
    allowed->set_length(32);
    return out;
  }
  static v1::InstallSessionRequest Session() {
    v1::InstallSessionRequest out;
    out.set_session_id(std::string(16, 's'));
    out.set_peer_id(std::string(16, 'p'));
    out.set_role(v1::ROLE_INITIATOR);
    out.set_cipher(v1::CIPHER_CHACHA20_POLY1305);
    for (v1::Channel* channel : {out.add_receive(), out.add_send()}) {
      channel->set_id(0x1234567890ab0004);
      channel->set_key(std::string(32, 'x'));
    }
    out.mutable_endpoint()->set_address(std::string(4, 1));
    out.mutable_endpoint()->set_port(9);
    v1::SessionLimits* limits = out.mutable_limits();
    limits->set_rekey_after_ms(120'000);
    limits->set_reject_after_ms(180'000);
    limits->set_keepalive_ms(10'000);
    limits->set_rekey_on_receive_ms(165'000);
    limits->set_no_reply_ms(15'000);
    return out;
  }
  v1::GetStateResponse GetState() {
    v1::GetStateResponse out;
    EXPECT_TRUE(stub_->GetState(Context().get(), {}, &out).ok());
    return out;
  }

  std::string path_;
  MemoryWire wire_;
  FakeLink link_;
  FakeUnderlay underlay_;
  Hub hub_{link_, underlay_};
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<DataplaneService> service_;
  std::unique_ptr<UnixServer> server_;
  std::unique_ptr<v1::Dataplane::Stub> stub_;
  v1::ApplyStateResponse applied_;
};

TEST_F(ServiceTest, RefusesEveryInvalidStateByTheNameOfItsField) {
  using Edit = std::function<void(v1::ApplyStateRequest&)>;
  const auto peer = [](v1::ApplyStateRequest& r) { return r.mutable_full()->mutable_peers(0); };
  const auto node = [](v1::ApplyStateRequest& r) { return r.mutable_full()->mutable_node(); };
  const std::vector<std::pair<std::string, Edit>> cases = {
      {"generation", [](auto& r) { r.set_generation(0); }},
      {"change", [](auto& r) { r.clear_change(); }},
      {"full.node", [](auto& r) { r.mutable_full()->clear_node(); }},
      {"full.node.mtu", [&](auto& r) { node(r)->set_mtu(1279); }},
      {"full.node.mtu", [&](auto& r) { node(r)->set_mtu(65476); }},
      {"full.node.mac1_key", [&](auto& r) { node(r)->set_mac1_key("short"); }},
      {"full.node.addresses[0].address",
       [&](auto& r) { node(r)->mutable_addresses(0)->set_address("abc"); }},
      {"full.node.addresses[0].length",
       [&](auto& r) { node(r)->mutable_addresses(0)->set_length(33); }},
      {"full.node.addresses[1]",
       [&](auto& r) { *node(r)->add_addresses() = node(r)->addresses(0); }},
      {"full.peers[0].peer_id", [&](auto& r) { peer(r)->set_peer_id("x"); }},
      {"full.peers[1].peer_id",
       [&](auto& r) { *r.mutable_full()->add_peers() = r.full().peers(0); }},
      {"full.peers[0].allowed[0].length",
       [&](auto& r) { peer(r)->mutable_allowed(0)->set_length(99); }},
      {"full.peers[0].allowed[0]", [&](auto& r) { peer(r)->mutable_allowed(0)->set_length(8); }},
      {"full.peers[0].allowed[1]", [&](auto& r) { *peer(r)->add_allowed() = peer(r)->allowed(0); }},
      {"full.peers[0].endpoint.address",
       [&](auto& r) { peer(r)->mutable_endpoint()->set_port(1); }},
      {"full.peers[0].endpoint.port",
       [&](auto& r) { peer(r)->mutable_endpoint()->set_address(std::string(4, 1)); }},
      {"full.peers[0].endpoint.port",
       [&](auto& r) {
         peer(r)->mutable_endpoint()->set_address(std::string(16, 1));
         peer(r)->mutable_endpoint()->set_port(65536);
       }},
      {"full.peers[0].persistent_keepalive_s",
       [&](auto& r) { peer(r)->set_persistent_keepalive_s(65536); }},
  };
  const std::string before = GetState().SerializeAsString();
  for (const auto& [field, edit] : cases) {
    v1::ApplyStateRequest request = State(2);
    edit(request);
    v1::ApplyStateResponse response;
    const grpc::Status status = stub_->ApplyState(Context().get(), request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << field;
    EXPECT_EQ(status.error_message().rfind(field + ": ", 0), 0U) << status.error_message();
  }
  EXPECT_EQ(GetState().SerializeAsString(), before);
}

TEST_F(ServiceTest, RefusesEveryInvalidSessionByTheNameOfItsField) {
  using Edit = std::function<void(v1::InstallSessionRequest&)>;
  const std::vector<std::pair<std::string, Edit>> cases = {
      {"session_id", [](auto& r) { r.set_session_id("x"); }},
      {"peer_id", [](auto& r) { r.set_peer_id("x"); }},
      {"role", [](auto& r) { r.clear_role(); }},
      {"cipher", [](auto& r) { r.clear_cipher(); }},
      {"cipher", [](auto& r) { r.set_cipher(static_cast<v1::Cipher>(3)); }},
      {"receive", [](auto& r) { r.clear_receive(); }},
      {"send", [](auto& r) { r.clear_send(); }},
      {"receive[0].id", [](auto& r) { r.mutable_receive(0)->set_id(5); }},
      {"receive[0].id", [](auto& r) { r.mutable_receive(0)->set_id(0x1234567890ab4004); }},
      {"send[1].id", [](auto& r) { *r.add_send() = r.send(0); }},
      {"receive[0].key", [](auto& r) { r.mutable_receive(0)->set_key("x"); }},
      // A control channel belongs to the same session, and says what it is.
      {"control_receive.id", [](auto& r) { *r.mutable_control_receive() = r.receive(0); }},
      {"control_send.id",
       [](auto& r) {
         *r.mutable_control_send() = r.send(0);
         r.mutable_control_send()->set_id(0x9934567890ab4004);
       }},
      {"control_send.key", [](auto& r) { r.mutable_control_send()->set_id(0x1234567890ab4004); }},
      {"endpoint", [](auto& r) { r.clear_endpoint(); }},
      {"endpoint.port", [](auto& r) { r.mutable_endpoint()->set_port(0); }},
      {"limits.reject_after_ms", [](auto& r) { r.mutable_limits()->set_reject_after_ms(180'001); }},
      {"limits.rekey_after_ms", [](auto& r) { r.mutable_limits()->set_rekey_after_ms(0); }},
      {"limits.keepalive_ms", [](auto& r) { r.mutable_limits()->clear_keepalive_ms(); }},
  };
  for (const auto& [field, edit] : cases) {
    v1::InstallSessionRequest request = Session();
    edit(request);
    v1::InstallSessionResponse response;
    const grpc::Status status = stub_->InstallSession(Context().get(), request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << field;
    EXPECT_EQ(status.error_message().rfind(field + ": ", 0), 0U) << status.error_message();
  }
  EXPECT_EQ(GetState().peers(0).sessions_size(), 0);
}

TEST_F(ServiceTest, TellsWhichBackendServesWhichCipher) {
  v1::GetInfoResponse info;
  ASSERT_TRUE(stub_->GetInfo(Context().get(), {}, &info).ok());
  ASSERT_EQ(info.ciphers_size(), 2);
  EXPECT_EQ(info.ciphers(0).cipher(), v1::CIPHER_CHACHA20_POLY1305);
  EXPECT_EQ(info.ciphers(0).backend(), "libsodium");
  EXPECT_EQ(info.ciphers(1).cipher(), v1::CIPHER_AES_256_GCM);
  EXPECT_EQ(info.ciphers(1).backend(), "ipsec-mb");
  EXPECT_EQ(info.ciphers(1).ns_64(), 60U);
  EXPECT_EQ(info.ciphers(1).ns_1420(), 200U);
}

TEST_F(ServiceTest, InstallsShowsAndRemovesASession) {
  v1::InstallSessionResponse installed;
  ASSERT_TRUE(stub_->InstallSession(Context().get(), Session(), &installed).ok());
  const v1::GetStateResponse state = GetState();
  ASSERT_EQ(state.peers(0).sessions_size(), 1);
  EXPECT_EQ(state.peers(0).sessions(0).slot(), v1::SESSION_SLOT_CURRENT);
  EXPECT_EQ(state.peers(0).sessions(0).receive_channel_ids(0), 0x1234567890ab0004U);
  v1::RemoveSessionRequest remove;
  v1::RemoveSessionResponse removed;
  remove.set_session_id(std::string(16, 's'));
  EXPECT_TRUE(stub_->RemoveSession(Context().get(), remove, &removed).ok());
  EXPECT_EQ(stub_->RemoveSession(Context().get(), remove, &removed).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(ServiceTest, CountsEveryReasonAndIgnoresInvalidPacketsOut) {
  auto context = Context();
  auto stream = stub_->Stream(context.get());
  v1::StreamResponse hello;
  ASSERT_TRUE(stream->Read(&hello));
  EXPECT_EQ(hello.hello().boot_id(), GetState().boot_id());
  v1::StreamRequest request;
  request.mutable_packet_out()->set_payload("\x04 forged session data");
  request.mutable_packet_out()->mutable_to()->set_address(std::string(4, 1));
  request.mutable_packet_out()->mutable_to()->set_port(9);
  ASSERT_TRUE(stream->Write(request));
  const auto ignored = [&] {
    v1::GetCountersResponse counters;
    EXPECT_TRUE(stub_->GetCounters(Context().get(), {}, &counters).ok());
    EXPECT_EQ(counters.drops_size(), static_cast<int>(kDropReasons));
    EXPECT_EQ(counters.drops(0).name(), "rx_truncated");
    for (const v1::Counter& counter : counters.workers()) {
      if (counter.name() == "ignored_packet_out") return counter.value();
    }
    return uint64_t{0};
  };
  while (ignored() == 0) std::this_thread::yield();
  EXPECT_TRUE(wire_.queues.empty());
}

TEST_F(ServiceTest, ANewStreamTakesOverFromTheOlder) {
  auto first_context = Context();
  auto first = stub_->Stream(first_context.get());
  v1::StreamResponse message;
  ASSERT_TRUE(first->Read(&message));
  auto second_context = Context();
  auto second = stub_->Stream(second_context.get());
  ASSERT_TRUE(second->Read(&message));
  while (first->Read(&message)) {
  }
  EXPECT_FALSE(first->Finish().ok());
  hub_.HandshakeWanted(0, Now());
  ASSERT_TRUE(second->Read(&message));
  EXPECT_EQ(message.event().handshake_wanted().peer_id(), std::string(16, 'p'));
}

}  // namespace
}  // namespace omni
