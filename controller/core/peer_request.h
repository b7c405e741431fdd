// SPDX-License-Identifier: Apache-2.0
// A peer as the management API writes it, checked into a PeerSpec and back; and the file in which
// API peers are kept: a JSON array of AddPeerRequest. Pure but for the two file functions.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "controller/config/config.h"
#include "omni/control/v1/control.pb.h"

namespace omni {

// INVALID_ARGUMENT names the field.
absl::StatusOr<PeerSpec> CheckPeerRequest(const control::v1::AddPeerRequest& request,
                                          const std::vector<InterfaceAddress>& own);
control::v1::AddPeerRequest ToRequest(const PeerSpec& spec);

// An absent file holds no peers. Any other trouble is an error that names the file.
absl::StatusOr<std::vector<control::v1::AddPeerRequest>> ReadPeersFile(const std::string& file);
absl::Status WritePeersFile(const std::string& file,
                            const std::vector<control::v1::AddPeerRequest>& peers);

}  // namespace omni
