// SPDX-License-Identifier: Apache-2.0
// The border between the contract's messages and the dataplane's values. Reading checks everything
// and names the field in its error; writing cannot fail.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/statusor.h"
#include "dataplane/core/peer.h"
#include "dataplane/hub/state.h"
#include "omni/dataplane/v1/dataplane.pb.h"

namespace omni {

namespace v1 = ::omni::dataplane::v1;

absl::StatusOr<StateChange> ReadStateChange(const v1::ApplyStateRequest& request);
absl::StatusOr<SessionSpec> ReadSession(const v1::InstallSessionRequest& request);
absl::StatusOr<Endpoint> ReadEndpoint(const v1::Endpoint& endpoint, std::string_view field);
absl::StatusOr<UdpPath> ReadControlPath(const v1::PacketOut& packet);
absl::StatusOr<NodeId> ReadNodeId(std::string_view raw, std::string_view field);
absl::StatusOr<SessionId> ReadSessionId(std::string_view raw, std::string_view field);

absl::StatusOr<RelaySpec> ReadRelay(const v1::OpenRelayRequest& request);
absl::StatusOr<PacketQuestion> ReadQuestion(const v1::ExplainPacketRequest& request);
grpc::Status ToGrpc(const absl::Status& status);

v1::Cipher WriteCipher(Cipher cipher);
v1::Paths WritePaths(const PathSettings& settings);
absl::StatusOr<PathWishes> ReadPaths(const v1::Paths& paths, std::string_view field);
v1::GetStateResponse WriteState(const StateView& view);
v1::PeerCounters WriteTotals(const PeerTotals& totals);
v1::StreamResponse WriteEvent(ControllerEvent event);

}  // namespace omni
