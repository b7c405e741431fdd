// SPDX-License-Identifier: Apache-2.0
// The border between the contract's messages and the dataplane's values. Reading checks everything
// and names the field in its error; writing cannot fail.
#pragma once

#include "absl/status/statusor.h"
#include "dataplane/hub/state.h"
#include "omni/dataplane/v1/dataplane.pb.h"

namespace omni {

namespace v1 = ::omni::dataplane::v1;

absl::StatusOr<StateChange> ReadStateChange(const v1::ApplyStateRequest& request);
absl::StatusOr<SessionSpec> ReadSession(const v1::InstallSessionRequest& request);
absl::StatusOr<Endpoint> ReadEndpoint(const v1::Endpoint& endpoint, std::string_view field);
absl::StatusOr<NodeId> ReadNodeId(std::string_view raw, std::string_view field);
absl::StatusOr<SessionId> ReadSessionId(std::string_view raw, std::string_view field);

v1::Cipher WriteCipher(Cipher cipher);
v1::GetStateResponse WriteState(const StateView& view);
v1::PeerCounters WriteTotals(const PeerTotals& totals);
v1::StreamResponse WriteEvent(ControllerEvent event);

}  // namespace omni
