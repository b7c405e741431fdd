// SPDX-License-Identifier: Apache-2.0
// FakeControl: a management API with a fixed, small world in it, on a real unix socket. The test
// double of the controller for tests of omnictl. gRPC's threads call it; but for a counter
// it has no state that changes.
#pragma once

#include <unistd.h>

#include <atomic>
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
    response->set_state(node_state);
    response->set_node_id("000102030405060708090a0b0c0d0e0f");
    response->set_key("omni1AAAA");
    response->add_addresses("10.77.0.1/24");
    response->add_addresses("fd77::1/64");
    if (relays) {
      response->mutable_relay()->set_pairs(2);
      response->mutable_relay()->set_packets(345);
      response->mutable_relay()->set_bytes(1'258'291);
    }
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

  grpc::Status SetNodeState(grpc::ServerContext* /*context*/,
                            const control::v1::SetNodeStateRequest* request,
                            control::v1::SetNodeStateResponse* /*response*/) override {
    node_state = request->state();
    return grpc::Status::OK;
  }

  std::atomic<control::v1::NodeState> node_state = control::v1::NODE_STATE_UP;
  std::atomic<bool> relays = false;

  // One that is there, one that comes, changes and goes; then it holds on until it is cancelled.
  grpc::Status WatchPeers(grpc::ServerContext* context,
                          const control::v1::WatchPeersRequest* request,
                          grpc::ServerWriter<control::v1::PeerChange>* writer) override {
    using control::v1::PeerChange;
    PeerChange change;
    change.set_kind(PeerChange::KIND_PRESENT);
    *change.mutable_peer() = UpPeer();
    writer->Write(change);
    if (request->peer() == "robot-2") return {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many"};
    auto& peer = *change.mutable_peer();
    peer.Clear();
    peer.set_name("robot-9");
    peer.set_state(control::v1::PEER_STATE_IDLE);
    change.set_kind(PeerChange::KIND_ADDED);
    writer->Write(change);
    peer.set_state(control::v1::PEER_STATE_UP);
    peer.set_path(control::v1::PEER_PATH_RELAY);
    peer.set_path_kind("relay");
    peer.set_path_reason("no direct answer from 192.0.2.9:51900");
    peer.set_endpoint("192.0.2.1:51900");
    change.set_kind(PeerChange::KIND_CHANGED);
    writer->Write(change);
    peer.Clear();
    peer.set_name("robot-9");
    change.set_kind(PeerChange::KIND_REMOVED);
    writer->Write(change);
    while (!context->IsCancelled()) usleep(1000);
    return grpc::Status::OK;
  }

  grpc::Status ListPeers(grpc::ServerContext* /*context*/,
                         const control::v1::ListPeersRequest* /*request*/,
                         control::v1::ListPeersResponse* response) override {
    *response->add_peers() = UpPeer();
    auto* silent = response->add_peers();
    silent->set_name("robot-3");
    silent->set_origin(control::v1::PEER_ORIGIN_CONFIG);
    silent->set_state(control::v1::PEER_STATE_UNREACHABLE);
    silent->add_allowed("10.77.0.3/32");
    silent->set_last_error("handshake timed out");
    return grpc::Status::OK;
  }

  grpc::Status GetPeer(grpc::ServerContext* /*context*/, const control::v1::GetPeerRequest* request,
                       control::v1::Peer* response) override {
    if (request->peer() == "robot-6" || request->peer() == "robot-8") {
      if (request->peer() == "robot-8") response->set_relay("robot-7");
      response->set_name(request->peer());
      response->set_state(control::v1::PEER_STATE_UP);
      response->set_path(control::v1::PEER_PATH_RELAY);
      response->set_path_kind("relay");
      response->set_endpoint("192.0.2.1:51900");
      response->set_path_reason("no direct answer from 192.0.2.6:51900");
      return grpc::Status::OK;
    }
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

  grpc::Status GetNucleus(grpc::ServerContext* /*context*/,
                          const control::v1::GetNucleusRequest* /*request*/,
                          control::v1::GetNucleusResponse* response) override {
    *response = nucleus;
    return grpc::Status::OK;
  }

  grpc::Status ReleaseAddresses(grpc::ServerContext* /*context*/,
                                const control::v1::ReleaseAddressesRequest* /*request*/,
                                control::v1::ReleaseAddressesResponse* /*response*/) override {
    return grpc::Status::OK;
  }

  control::v1::GetNucleusResponse nucleus;

  grpc::Status CheckNetwork(grpc::ServerContext* /*context*/,
                            const control::v1::CheckNetworkRequest* /*request*/,
                            control::v1::CheckNetworkResponse* response) override {
    *response = network;
    return grpc::Status::OK;
  }

  control::v1::CheckNetworkResponse network;

  grpc::Status GetCluster(grpc::ServerContext* /*context*/,
                          const control::v1::GetClusterRequest* /*request*/,
                          control::v1::GetClusterResponse* response) override {
    *response = cluster;
    return grpc::Status::OK;
  }

  control::v1::GetClusterResponse cluster;

  grpc::Status RevokeNode(grpc::ServerContext* /*context*/,
                          const control::v1::RevokeNodeRequest* request,
                          control::v1::Revocation* response) override {
    if (request->node() == "nobody") return {grpc::StatusCode::NOT_FOUND, "node: not known"};
    response->set_node_id("101112131415161718191a1b1c1d1e1f");
    response->set_name(request->node());
    response->set_reason(request->reason());
    response->set_time(1'769'879'100);
    return grpc::Status::OK;
  }

  grpc::Status ListRevocations(grpc::ServerContext* /*context*/,
                               const control::v1::ListRevocationsRequest* /*request*/,
                               control::v1::ListRevocationsResponse* response) override {
    *response = revocations;
    return grpc::Status::OK;
  }

  control::v1::ListRevocationsResponse revocations;

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

  grpc::Status GetStats(grpc::ServerContext* /*context*/,
                        const control::v1::GetStatsRequest* /*request*/,
                        control::v1::GetStatsResponse* response) override {
    auto* path = response->add_paths();
    path->set_path("kernel");
    path->set_tx_packets(10);
    path->set_tx_bytes(2048);
    auto* counter = response->add_counters();
    counter->set_name("wakeups");
    counter->set_help("times a worker was woken");
    counter->set_value(++looks_);
    auto* drop = response->add_counters();
    drop->set_name("rx_bad_tag");
    drop->set_drop(true);
    auto* group = response->add_groups();
    group->set_name("worker 0");
    *group->add_counters() = *counter;
    return grpc::Status::OK;
  }

  grpc::Status GetPaths(grpc::ServerContext* /*context*/,
                        const control::v1::GetPathsRequest* /*request*/,
                        control::v1::Paths* response) override {
    response->set_path("afxdp");
    response->set_path_reason("eth0");
    response->mutable_in_force()->set_path("afxdp");
    response->mutable_in_force()->set_in_kernel("auto");
    response->mutable_in_force()->set_in_kernel_threshold(512);
    response->mutable_config()->set_path("socket");
    response->mutable_api()->set_path("afxdp");
    auto* feature = response->add_features();
    feature->set_name("xdp:eth0");
    feature->set_active(true);
    feature->set_reason("native: by choice");
    return grpc::Status::OK;
  }

  grpc::Status SetPaths(grpc::ServerContext* /*context*/,
                        const control::v1::SetPathsRequest* request,
                        control::v1::Paths* response) override {
    if (request->say().path() == "fast") {
      return {grpc::StatusCode::INVALID_ARGUMENT, "path: \"fast\" is none of auto, socket, afxdp"};
    }
    *response->mutable_api() = request->say();
    response->set_path(request->reset() ? "reset" : "set");
    return grpc::Status::OK;
  }

  grpc::Status ExplainPacket(grpc::ServerContext* /*context*/,
                             const control::v1::ExplainPacketRequest* request,
                             control::v1::ExplainPacketResponse* response) override {
    response->set_peer("robot-2");
    response->set_path("kernel");
    auto* step = response->add_steps();
    step->set_name("route");
    step->set_text(request->destination() + "/32");
    return grpc::Status::OK;
  }

  // As many packets as were asked for; "robot-3" has none.
  grpc::Status Trace(grpc::ServerContext* context, const control::v1::TraceRequest* request,
                     grpc::ServerWriter<control::v1::TraceResult>* writer) override {
    control::v1::TraceResult result;
    result.set_kernel_tx(3);
    while (request->peer() == "robot-3" && !context->IsCancelled()) usleep(1000);
    for (uint32_t i = 0; i < request->packets(); ++i) {
      auto* packet = result.mutable_packet();
      packet->mutable_at()->set_nanos(1'500'000);
      packet->set_direction("in");
      packet->set_peer("robot-2");
      packet->set_protocol("udp");
      packet->set_source("10.77.0.2:1000");
      packet->set_destination("10.77.0.1:2000");
      packet->set_bytes(128);
      packet->set_packets(1);
      packet->set_path("socket");
      packet->set_verdict(request->drops_only() ? "rx_replayed" : "delivered");
      packet->set_dropped(request->drops_only());
      writer->Write(result);
    }
    result.clear_packet();
    writer->Write(result);
    return grpc::Status::OK;
  }

  // "robot-3" never answers; "robot-4" finds the dataplane away; "robot-5" is reached by a relay,
  // and directly from the third echo on; "robot-6" never directly; "robot-7" is not known.
  grpc::Status Ping(grpc::ServerContext* /*context*/, const control::v1::PingRequest* request,
                    grpc::ServerWriter<control::v1::PingResult>* writer) override {
    if (request->peer() == "robot-4") {
      return {grpc::StatusCode::UNAVAILABLE, "dataplane /run/omni/dataplane.sock: not connected"};
    }
    if (request->peer() == "robot-7") return {grpc::StatusCode::NOT_FOUND, "peer: not known"};
    for (uint32_t i = 0; i < request->count(); ++i) {
      control::v1::PingResult result;
      result.set_sequence(i + 1);
      if (request->peer() == "robot-3") {
        result.set_lost("no answer within the timeout");
      } else {
        result.mutable_rtt()->set_nanos(140'000);
        if (request->peer() == "robot-6" ||
            (request->peer() == "robot-5" && ++relayed_echoes_ < 3)) {
          result.set_path_kind("relay");
          result.set_endpoint("192.0.2.1:51900");
        } else if (request->peer() == "robot-5") {
          result.set_path_kind("direct v4");
          result.set_endpoint("192.0.2.5:51900");
        }
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
  std::atomic<uint64_t> looks_ = 0;
  std::atomic<int> relayed_echoes_ = 0;

  static control::v1::Peer UpPeer() {
    control::v1::Peer peer;
    peer.set_name("robot-2");
    peer.set_node_id("101112131415161718191a1b1c1d1e1f");
    peer.set_key("omni1BBBB");
    peer.set_origin(control::v1::PEER_ORIGIN_CONFIG);
    peer.add_allowed("10.77.0.2/32");
    peer.add_allowed("fd77::2/128");
    peer.set_endpoint("192.0.2.2:51900");
    peer.set_path_kind("direct v4");
    peer.set_state(control::v1::PEER_STATE_UP);
    peer.set_cipher("aes-256-gcm");
    peer.mutable_last_handshake_age()->set_seconds(75);
    peer.mutable_rtt()->set_nanos(140'000);
    peer.set_loss_percent(3.125F);
    peer.set_loss_samples(32);
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
