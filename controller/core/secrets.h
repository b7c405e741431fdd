// SPDX-License-Identifier: Apache-2.0
// Cluster secrets as the handshake engine takes them. Pure; any thread.
#pragma once

#include <vector>

#include "common/identity/cluster.h"
#include "controller/noise/engine.h"

namespace omni {

noise::SecretTag TagOf(const ClusterId& cluster);
std::vector<noise::ClusterSecret> SecretsOf(const ClusterKeyring& keyring);

}  // namespace omni
