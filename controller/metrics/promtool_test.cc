// SPDX-License-Identifier: Apache-2.0
// What `promtool check metrics` says about every metric that there is. Skipped (77) without
// promtool.
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>

#include "controller/core/testing.h"
#include "controller/metrics/metrics.h"

namespace omni {
namespace {

// Its exit code, with `input` on its standard input.
int RunCommand(const std::string& command, const std::string& input) {
  FILE* pipe = popen(command.c_str(), "w");
  if (pipe == nullptr) return -1;
  std::fwrite(input.data(), 1, input.size(), pipe);
  const int status = pclose(pipe);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Metrics, PleasePromtool) {
  if (RunCommand("command -v promtool >/dev/null", "") != 0) {
    std::cerr << "promtool is missing (package prometheus)\n";
    std::exit(77);
  }
  TestLoop loop;
  TestNode a(loop, "a", 1);
  TestNode b(loop, "b", 2);
  const ClusterKeys keys = *ClusterKeys::Derive("correct horse battery staple");
  for (TestNode* node : {&a, &b}) {
    node->cluster = &keys;
    node->config.beacons = true;
  }
  a.AddToConfig(b.Spec());
  b.AddToConfig(a.Spec());
  for (TestNode* node : {&a, &b}) {
    ASSERT_TRUE(node->StartController().ok());
    node->dataplane.Connect();
  }
  ASSERT_TRUE(loop.RunUntil([&] { return a.Connected() && b.Connected(); }));
  a.controller->Initiate(b.identity.node_id());
  ASSERT_TRUE(loop.RunUntil([&] { return a.PeerNamed("b").rtt.has_value(); }));

  dataplane::v1::GetCountersResponse counters;
  auto& peer = *counters.add_peers();
  peer.set_peer_id(b.identity.node_id().ToBytes());
  counters.add_drops()->set_name("rx_bad_tag");
  auto& worker = *counters.add_workers();
  worker.set_name("socket_receive_calls");
  worker.set_help("Calls of recvmmsg.");
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, CollectMetrics(*a.controller, &counters));
  for (const char* name : {"omni_peer_up{",
                           "omni_peer_rtt_seconds{",
                           "omni_peer_last_handshake_age_seconds{",
                           "omni_peer_tx_bytes_total{",
                           "omni_peer_rx_bytes_total{",
                           "omni_peer_tx_packets_total{",
                           "omni_peer_rx_packets_total{",
                           "omni_peer_handshakes_total{",
                           "omni_peer_handshake_failures_total{",
                           "omni_drops_total{",
                           "omni_build_info{",
                           "omni_dataplane_socket_receive_calls_total ",
                           "omni_dataplane_feature_active{",
                           "omni_dataplane_feature_refusals_total{",
                           "process_start_time_seconds ",
                           "omni_mesh_beacons_sent_total ",
                           "omni_mesh_beacons_heard_total ",
                           "omni_mesh_beacons_replayed_total ",
                           "omni_mesh_beacons_refused_total{",
                           "omni_mesh_neighbours ",
                           "omni_mesh_connections ",
                           "omni_mesh_handshakes_total ",
                           "omni_mesh_handshake_failures_total ",
                           "omni_mesh_connection_moves_total ",
                           "omni_mesh_messages_refused_total ",
                           "omni_mesh_knocks_refused_total{"}) {
    EXPECT_NE(text.str().find(std::string("\n") + name), std::string::npos) << name;
  }
  EXPECT_EQ(RunCommand("promtool check metrics >&2", text.str()), 0) << text.str();
}

}  // namespace
}  // namespace omni
