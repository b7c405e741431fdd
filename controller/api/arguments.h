// SPDX-License-Identifier: Apache-2.0
// Arguments of the management API, checked. Pure, but for looking a peer up on the event loop.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "controller/core/peer_table.h"
#include "omni/control/v1/control.pb.h"
#include "omni/dataplane/v1/dataplane.pb.h"

namespace omni {

grpc::Status ToGrpc(const absl::Status& status);

// The peer of that name or node id. INVALID_ARGUMENT when the text can be neither, or NOT_FOUND.
absl::StatusOr<Peer*> LookUpPeer(const PeerTable& peers, const std::string& text);

struct PingPlan {
  uint32_t count = 4;
  Duration interval = 1s;
  Duration timeout = 2s;
  uint32_t padding = 48;
};
absl::StatusOr<PingPlan> CheckPing(const control::v1::PingRequest& request);

absl::StatusOr<dataplane::v1::ExplainPacketRequest> CheckExplain(
    const control::v1::ExplainPacketRequest& request);

struct TracePlan {
  uint32_t packets = 10;
  dataplane::v1::ReadTraceRequest ask;  // without a token
};
absl::StatusOr<TracePlan> CheckTrace(const PeerTable& peers,
                                     const control::v1::TraceRequest& request);

}  // namespace omni
