// SPDX-License-Identifier: Apache-2.0
// For tests: the service with a hub and a worker over memory, behind a real unix socket.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <functional>

#include "common/rpc/unix_server.h"
#include "dataplane/api/service.h"
#include "dataplane/worker/test_node.h"

namespace omni {

namespace v1 = ::omni::dataplane::v1;

class FakeUnderlay final : public Underlay {
 public:
  uint32_t LargestMtu() const override { return mtu; }
  uint32_t MtuTowards(const Endpoint&) override { return mtu; }
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
        std::make_unique<DataplaneService>(hub_, std::vector<Worker*>{worker_.get()}, Info());
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

  DataplaneInfo Info() const {
    return {.tun_name = "omni0",
            .ciphers = {{.ns_64 = 160, .ns_1420 = 520},
                        {.cipher = Cipher::kAes256Gcm,
                         .backend = AeadBackend::kIpsecMb,
                         .ns_64 = 60,
                         .ns_1420 = 200}},
            .drops = [this] { return std::vector<uint64_t>(kDropReasons, xdp_drops_.load()); }};
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
  std::atomic<uint64_t> xdp_drops_ = 5;
  std::unique_ptr<DataplaneService> service_;
  std::unique_ptr<UnixServer> server_;
  std::unique_ptr<v1::Dataplane::Stub> stub_;
  v1::ApplyStateResponse applied_;
};

class FakePaths final : public PathControl {
 public:
  void SetWishes(const PathWishes& to) override {
    wishes = to;
    ++calls;
  }
  Way WayTo(const UdpPath&) const override { return {.name = "afxdp", .why = "a test says so"}; }
  PathWishes wishes;
  int calls = 0;
};

}  // namespace omni
