// SPDX-License-Identifier: Apache-2.0
// The contract over a real unix socket: every invalid argument is refused by the name of its field
// and changes nothing; one stream at a time; reflection.
#include "dataplane/api/test_service.h"

namespace omni {
namespace {

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
      {"full.node.quic_cid_key", [&](auto& r) { node(r)->set_quic_cid_key("short"); }},
      {"full.node.stun_key", [&](auto& r) { node(r)->set_stun_key("short"); }},
      {"full.node.beacon_keys[0]", [&](auto& r) { node(r)->add_beacon_keys("short"); }},
      {"full.node.knock_keys[0]", [&](auto& r) { node(r)->add_knock_keys("short"); }},
      {"full.node.knock_keys",
       [&](auto& r) {
         for (const char fill : {'a', 'b', 'c'}) node(r)->add_knock_keys(std::string(32, fill));
       }},
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

TEST_F(ServiceTest, OpensARelayOrNamesTheField) {
  const auto open = [&](const std::function<void(v1::OpenRelayRequest&)>& edit) {
    v1::OpenRelayRequest request;
    request.set_from(std::string(16, 'a'));
    request.set_to(std::string(16, 'b'));
    request.add_channels(0x1234567890ab0004);
    request.set_seconds(200);
    edit(request);
    v1::OpenRelayResponse response;
    return stub_->OpenRelay(Context().get(), request, &response);
  };
  const std::pair<std::string, std::function<void(v1::OpenRelayRequest&)>> cases[] = {
      {"from", [](auto& r) { r.set_from("x"); }},
      {"to", [](auto& r) { r.clear_to(); }},
      {"channels", [](auto& r) { r.clear_channels(); }},
      {"channels", [](auto& r) { r.mutable_channels()->Resize(65, 4); }},
      {"channels", [](auto& r) { r.set_channels(0, 0x1234567890ab0005); }},
      {"seconds", [](auto& r) { r.set_seconds(0); }},
      {"seconds", [](auto& r) { r.set_seconds(201); }}};
  for (const auto& [field, edit] : cases) {
    const grpc::Status status = open(edit);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << field;
    EXPECT_EQ(status.error_message().rfind(field + ": ", 0), 0U) << status.error_message();
  }
  EXPECT_EQ(open([](auto&) {}).error_code(), grpc::StatusCode::FAILED_PRECONDITION)
      << "this node does not relay";
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
  // From an address of the other family.
  request.mutable_packet_out()->set_payload("\x08 a beacon");
  request.mutable_packet_out()->set_from(std::string(16, 1));
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
  while (ignored() < 2) std::this_thread::yield();
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

TEST_F(ServiceTest, PathsAreTakenWithTheStateAndRefusedByName) {
  FakePaths paths;
  hub_.SetPathControl(&paths);
  const auto apply = [this](uint64_t generation, const v1::Paths& wanted) {
    v1::ApplyStateRequest request = State(generation);
    *request.mutable_full()->mutable_node()->mutable_paths() = wanted;
    return stub_->ApplyState(Context().get(), request, &applied_);
  };
  v1::Paths wanted;
  wanted.mutable_path()->set_others(v1::PATH_CHOICE_AFXDP);
  (*wanted.mutable_path()->mutable_interfaces())["eth1"] = v1::PATH_CHOICE_SOCKET;
  wanted.set_in_kernel(v1::IN_KERNEL_OFF);
  wanted.set_in_kernel_threshold(0);
  EXPECT_TRUE(apply(2, wanted).ok());
  EXPECT_EQ(paths.calls, 1);
  EXPECT_EQ(ToText(*paths.wishes.path), "afxdp,eth1=socket");
  EXPECT_FALSE(paths.wishes.xdp);
  EXPECT_EQ(paths.wishes.in_kernel, InKernel::kOff);
  EXPECT_EQ(paths.wishes.in_kernel_threshold, 0U);
  EXPECT_TRUE(apply(2, wanted).ok());
  EXPECT_EQ(paths.calls, 1) << "the same generation again";

  const struct {
    std::function<void(v1::Paths&)> spoil;
    const char* message;
  } cases[] = {
      {[](v1::Paths& p) { p.mutable_path()->set_others(v1::PATH_CHOICE_UNSPECIFIED); },
       "full.node.paths.path.others: 0 is not known"},
      {[](v1::Paths& p) {
         (*p.mutable_xdp()->mutable_interfaces())["eth0"] = static_cast<v1::XdpChoice>(9);
         p.mutable_xdp()->set_others(v1::XDP_CHOICE_OFF);
       },
       "full.node.paths.xdp.interfaces[eth0]: 9 is not known"},
      {[](v1::Paths& p) {
         (*p.mutable_path()->mutable_interfaces())["a/b"] = v1::PATH_CHOICE_AUTO;
       },
       "full.node.paths.path.interfaces: a name that no interface can have"},
      {[](v1::Paths& p) { p.set_in_kernel_threshold(1201); },
       "full.node.paths.in_kernel_threshold: 1201 is not within 0-1200"},
      {[](v1::Paths& p) { p.set_polling(static_cast<v1::Polling>(3)); },
       "full.node.paths.polling: 3 is not known"},
  };
  for (const auto& c : cases) {
    v1::Paths wrong = wanted;
    c.spoil(wrong);
    const grpc::Status status = apply(3, wrong);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(status.error_message(), c.message);
  }
  EXPECT_EQ(paths.calls, 1);
  hub_.SetPathControl(nullptr);
}

TEST_F(ServiceTest, CountersComeByWorkerOnDemand) {
  wire_.Put({.bytes = std::vector<uint8_t>(40, OMNI_MSG_DATA),
             .from = *Endpoint::Parse("192.0.2.9:9"),
             .to = *Endpoint::Parse("192.0.2.1:1")});
  worker_->RunOnce(Now());
  v1::GetCountersRequest request;
  v1::GetCountersResponse response;
  EXPECT_TRUE(stub_->GetCounters(Context().get(), request, &response).ok());
  EXPECT_EQ(response.groups_size(), 0);
  request.set_groups(true);
  EXPECT_TRUE(stub_->GetCounters(Context().get(), request, &response).ok());
  ASSERT_EQ(response.groups_size(), 1);
  EXPECT_EQ(response.groups(0).name(), "worker 0");
  uint64_t drops = 0;
  for (const v1::Counter& counter : response.groups(0).counters()) {
    EXPECT_NE(counter.value(), 0U);
    if (counter.name() == "rx_unknown_channel") drops = counter.value();
  }
  EXPECT_EQ(drops, 1U);
}

}  // namespace
}  // namespace omni
