// SPDX-License-Identifier: Apache-2.0
// Which interface gets XDP, and which of those AF_XDP sockets: what the operator said, and what is
// known of drivers. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/paths.h"
#include "dataplane/xdp/host_links.h"
#include "dataplane/xdp/steer_object.h"

namespace omni {

enum class SocketChoice : uint8_t { kNone, kZeroCopy, kZeroCopyOrCopy };

struct XdpDecision {
  std::optional<XdpMode> mode;  // unset: no XDP there
  std::string reason;           // of the mode
  SocketChoice sockets = SocketChoice::kNone;
  std::string socket_reason;  // why there are none
  bool named = false;         // the operator spoke of this interface, or of all
};

XdpDecision DecideXdp(const HostInterface& interface, const PathSettings& settings);

// Whether anything is to be attached to: an interface of today's, or one that may come.
bool WantsXdp(const std::vector<HostInterface>& interfaces, const PathSettings& settings);

// Whether XDP is off wherever it could ever be: then nothing has to be loaded.
bool ExcludesXdp(const PathSettings& settings);

}  // namespace omni
