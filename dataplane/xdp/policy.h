// SPDX-License-Identifier: Apache-2.0
// Which interface gets XDP, and which of those AF_XDP sockets: what the operator said, and what is
// known of drivers. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataplane/xdp/host_links.h"
#include "dataplane/xdp/steer_object.h"

namespace omni {

enum class XdpChoice : uint8_t { kAuto, kOff, kNative, kGeneric };
enum class PathChoice : uint8_t { kAuto, kSocket, kAfxdp };

// What is said for interfaces by name, and for all others.
template <typename Choice>
struct PerInterface {
  Choice others = Choice::kAuto;
  std::map<std::string, Choice, std::less<>> named;

  Choice For(std::string_view interface) const {
    const auto found = named.find(interface);
    return found == named.end() ? others : found->second;
  }
};

struct XdpOptions {
  PerInterface<XdpChoice> xdp;
  PerInterface<PathChoice> path;
};

// Words as on the command line, "VALUE" or "INTERFACE=VALUE", the later ones win.
// INVALID_ARGUMENT names the word.
absl::StatusOr<PerInterface<XdpChoice>> ParseXdpChoices(const std::vector<std::string>& words);
absl::StatusOr<PerInterface<PathChoice>> ParsePathChoices(const std::vector<std::string>& words);

enum class SocketChoice : uint8_t { kNone, kZeroCopy, kZeroCopyOrCopy };

struct XdpDecision {
  std::optional<XdpMode> mode;  // unset: no XDP there
  std::string reason;           // of the mode
  SocketChoice sockets = SocketChoice::kNone;
  std::string socket_reason;  // why there are none
  bool named = false;         // the operator spoke of this interface, or of all
};

XdpDecision DecideXdp(const HostInterface& interface, const XdpOptions& options);

// Whether anything could be attached to: an interface of today's, or one that may come.
bool WantsXdp(const std::vector<HostInterface>& interfaces, const XdpOptions& options);

}  // namespace omni
