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
void FillSession(const Peer& peer, const dataplane::v1::SessionState& session,
                 control::v1::Session& out);

}  // namespace omni
