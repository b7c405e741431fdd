// SPDX-License-Identifier: Apache-2.0
// Our values as messages of the dataplane contract and back. Pure.
#pragma once

#include <optional>
#include <string>

#include "common/ip.h"
#include "controller/config/config.h"
#include "controller/noise/engine.h"
#include "omni/dataplane/v1/dataplane.pb.h"

namespace omni {

void ToProto(const Endpoint& endpoint, dataplane::v1::Endpoint& out);
// Empty when malformed.
std::optional<Endpoint> FromProto(const dataplane::v1::Endpoint& endpoint);
// "" when malformed.
std::string AddressText(const std::string& raw);
void ToProto(const IpPrefix& prefix, dataplane::v1::Prefix& out);

// LIMIT: WireGuard's times (whitepaper section 6.1) at reject_after 180 s, shorter in proportion.
dataplane::v1::SessionLimits ToLimits(const SessionConfig& session);

dataplane::v1::Cipher ToProto(Cipher cipher);
// Empty for one that is not known here.
std::optional<Cipher> FromProto(dataplane::v1::Cipher cipher);

// What handshakes offer, of what the dataplane has.
std::vector<Cipher> CiphersToOffer(CipherPolicy policy, const dataplane::v1::GetInfoResponse& info);

dataplane::v1::InstallSessionRequest ToProto(const noise::EstablishedSession& session,
                                             const dataplane::v1::SessionLimits& limits);

}  // namespace omni
