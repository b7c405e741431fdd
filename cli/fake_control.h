// SPDX-License-Identifier: Apache-2.0
// FakeControl: a management API with a fixed, small world in it, on a real unix socket. The test
// double of the controller for tests of omnictl. gRPC's threads call it; it has no state that
// changes.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "common/rpc/unix_server.h"
#include "omni/control/v1/control.grpc.pb.h"

namespace omni {

class FakeControl final : public control::v1::Control::Service {
 public:
  grpc::Status GetStatus(grpc::ServerContext* /*context*/,
                         const control::v1::GetStatusRequest* /*request*/,
                         control::v1::GetStatusResponse* response) override {
    response->set_name("robot-1");
    response->set_node_id("000102030405060708090a0b0c0d0e0f");
    response->set_key("omni1AAAA");
    response->add_addresses("10.77.0.1/24");
    response->add_addresses("fd77::1/64");
    auto* controller = response->mutable_controller();
    controller->set_version("0.1.0");
    controller->set_pid(41);
    controller->mutable_uptime()->set_seconds(192);
    controller->set_config_file("/etc/omni/controller.toml");
    controller->set_peers(2);
    controller->set_peers_up(1);
    auto* dataplane = response->mutable_dataplane();
    dataplane->set_socket("/run/omni/dataplane.sock");
    dataplane->set_connected(true);
    dataplane->set_version("0.1.0");
    dataplane->set_pid(42);
    dataplane->mutable_uptime()->set_seconds(7260);
    dataplane->set_tun_name("omni0");
    dataplane->set_listen_port(51900);
    dataplane->set_workers(2);
    dataplane->set_path("socket");
    dataplane->set_path_reason("the only one");
    auto* cipher = dataplane->add_ciphers();
    cipher->set_name("chacha20-poly1305");
    cipher->set_backend("libsodium");
    cipher->set_ns_64(300);
    cipher->set_ns_1420(1400);
    cipher->set_offered(true);
    dataplane->set_generation(3);
    auto* feature = dataplane->add_features();
    feature->set_name("udp_gso");
    feature->set_reason("not tested");
    feature->set_refusals(3);
    return grpc::Status::OK;
  }

  grpc::Status ListPeers(grpc::ServerContext* /*context*/,
                         const control::v1::ListPeersRequest* /*request*/,
                         control::v1::ListPeersResponse* response) override {
    *response->add_peers() = UpPeer();
    auto* silent = response->add_peers();
    silent->set_name("robot-3");
    silent->set_state(control::v1::PEER_STATE_UNREACHABLE);
    silent->add_allowed("10.77.0.3/32");
    silent->set_last_error("handshake timed out");
    return grpc::Status::OK;
  }

  grpc::Status GetPeer(grpc::ServerContext* /*context*/, const control::v1::GetPeerRequest* request,
                       control::v1::Peer* response) override {
    if (request->peer() != "robot-2") {
      return {grpc::StatusCode::NOT_FOUND, "peer \"" + request->peer() + "\": not known"};
    }
    *response = UpPeer();
    return grpc::Status::OK;
  }

  grpc::Status AddPeer(grpc::ServerContext* /*context*/, const control::v1::AddPeerRequest* request,
                       control::v1::Peer* response) override {
    if (request->key() == "bad") return {grpc::StatusCode::INVALID_ARGUMENT, "key: malformed"};
    if (request->name() == "robot-2") {
      return {grpc::StatusCode::ALREADY_EXISTS, "name: belongs to another peer"};
    }
    response->set_name(request->name());
    response->set_key(request->key());
    response->set_origin(control::v1::PEER_ORIGIN_API);
    response->set_configured_endpoint(request->endpoint());
    *response->mutable_allowed() = request->allowed();
    response->set_has_psk(request->psk() == std::string(32, '\x11'));
    response->set_persistent_keepalive_s(request->persistent_keepalive_s());
    response->set_state(control::v1::PEER_STATE_IDLE);
    return grpc::Status::OK;
  }

  grpc::Status RemovePeer(grpc::ServerContext* /*context*/,
                          const control::v1::RemovePeerRequest* request,
                          control::v1::RemovePeerResponse* /*response*/) override {
    if (request->peer() == "robot-2") {
      return {grpc::StatusCode::FAILED_PRECONDITION, "peer: comes from the configuration file"};
    }
    return grpc::Status::OK;
  }

  grpc::Status ListSessions(grpc::ServerContext* /*context*/,
                            const control::v1::ListSessionsRequest* /*request*/,
                            control::v1::ListSessionsResponse* response) override {
    auto* session = response->add_sessions();
    session->set_session_id("ff000000000000000000000000000001");
    session->set_peer("robot-2");
    session->set_role("initiator");
    session->set_slot("current");
    session->set_cipher("chacha20-poly1305");
    session->mutable_age()->set_seconds(61);
    session->set_channels(2);
    session->set_tx_packets(5);
    session->set_rx_packets(1234);
    return grpc::Status::OK;
  }

  grpc::Status GetDrops(grpc::ServerContext* /*context*/,
                        const control::v1::GetDropsRequest* /*request*/,
                        control::v1::GetDropsResponse* response) override {
    auto* truncated = response->add_drops();
    truncated->set_reason("rx_truncated");
    truncated->set_help("datagram shorter than its header");
    auto* bad_tag = response->add_drops();
    bad_tag->set_reason("rx_bad_tag");
    bad_tag->set_help("authentication failed");
    bad_tag->set_packets(17);
    return grpc::Status::OK;
  }

  // "robot-3" never answers; "robot-4" finds the dataplane away.
  grpc::Status Ping(grpc::ServerContext* /*context*/, const control::v1::PingRequest* request,
                    grpc::ServerWriter<control::v1::PingResult>* writer) override {
    if (request->peer() == "robot-4") {
      return {grpc::StatusCode::UNAVAILABLE, "dataplane /run/omni/dataplane.sock: not connected"};
    }
    for (uint32_t i = 0; i < request->count(); ++i) {
      control::v1::PingResult result;
      result.set_sequence(i + 1);
      if (request->peer() == "robot-3") {
        result.set_lost("no answer within the timeout");
      } else {
        result.mutable_rtt()->set_nanos(140'000);
      }
      writer->Write(result);
    }
    return grpc::Status::OK;
  }

  grpc::Status Reload(grpc::ServerContext* /*context*/,
                      const control::v1::ReloadRequest* /*request*/,
                      control::v1::ReloadResponse* response) override {
    response->set_peers_added(1);
    response->set_peers_changed(2);
    return grpc::Status::OK;
  }

 private:
  static control::v1::Peer UpPeer() {
    control::v1::Peer peer;
    peer.set_name("robot-2");
    peer.set_node_id("101112131415161718191a1b1c1d1e1f");
    peer.set_key("omni1BBBB");
    peer.set_origin(control::v1::PEER_ORIGIN_CONFIG);
    peer.add_allowed("10.77.0.2/32");
    peer.add_allowed("fd77::2/128");
    peer.set_endpoint("192.0.2.2:51900");
    peer.set_state(control::v1::PEER_STATE_UP);
    peer.set_cipher("aes-256-gcm");
    peer.mutable_last_handshake_age()->set_seconds(75);
    peer.mutable_rtt()->set_nanos(140'000);
    peer.set_handshakes(4);
    peer.set_handshake_failures(1);
    peer.set_tx_packets(3);
    peer.set_tx_bytes(1536);
    peer.set_rx_packets(2);
    peer.set_rx_bytes(100);
    peer.set_path_mtu(1500);
    peer.set_inner_mtu(1440);
    peer.set_path_mtu_state(control::v1::PATH_MTU_STATE_COMPLETE);
    return peer;
  }
};

}  // namespace omni
