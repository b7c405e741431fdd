// SPDX-License-Identifier: Apache-2.0
// The controller's state as messages of the management API. Called on the event loop.
#pragma once

#include <google/protobuf/duration.pb.h>

#include <string>

#include "controller/core/controller.h"
#include "omni/control/v1/control.pb.h"
#include "omni/dataplane/v1/dataplane.pb.h"

namespace omni {

google::protobuf::Duration ToProto(Duration duration);

// `counters` is nullptr while the dataplane cannot tell: they stay zero.
void FillPeer(const Controller& controller, const Peer& peer,
              const dataplane::v1::PeerCounters* counters, control::v1::Peer& out);
void FillStatus(const Controller& controller, control::v1::GetStatusResponse& out);
void FillNucleus(const Controller& controller, control::v1::GetNucleusResponse& out);
void FillCluster(const Controller& controller, control::v1::GetClusterResponse& out);
void FillRevocation(const Revocation& revocation, control::v1::Revocation& out);
void FillRevocations(const Controller& controller, control::v1::ListRevocationsResponse& out);
void FillNetwork(const Controller& controller, control::v1::CheckNetworkResponse& out);
void FillMesh(const Controller& controller, control::v1::Mesh& out);  // mesh_views.cc
void FillSession(const Peer& peer, const dataplane::v1::SessionState& session,
                 control::v1::Session& out);

// Views of the packets' ways (path_views.cc)
void FillFeature(const dataplane::v1::Feature& feature,
                 control::v1::GetStatusResponse::Feature& out);
void FillPaths(const Controller& controller, control::v1::Paths& out);
void FillStats(const dataplane::v1::GetCountersResponse& counters,
               control::v1::GetStatsResponse& out);
void FillExplanation(const Controller& controller,
                     const dataplane::v1::ExplainPacketResponse& explanation,
                     control::v1::ExplainPacketResponse& out);
void FillTraced(const Controller& controller, const dataplane::v1::TracedPacket& packet,
                control::v1::TracedPacket& out);

}  // namespace omni
