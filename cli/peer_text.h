// SPDX-License-Identifier: Apache-2.0
// Words for what a peer is and how packets get to it, the same in every command.
#pragma once

#include <string>

#include "omni/control/v1/control.pb.h"

namespace omni {

std::string StateName(control::v1::PeerState state);  // "up", "unreachable"
// "192.0.2.7:51900", "relay via 192.0.2.1:51900"
std::string PathTo(const control::v1::Peer& peer);
// Everything that changes: "up, direct v4 192.0.2.7:51900", "unreachable: no answer for 90 s".
std::string PeerLine(const control::v1::Peer& peer);
// How an echo was answered: "direct v4 192.0.2.7:51900"; "" when that is not known.
std::string WayOf(const control::v1::PingResult& result);
bool IsDirect(const control::v1::PingResult& result);

}  // namespace omni
