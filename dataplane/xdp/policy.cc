// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/policy.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/status.h"

namespace omni {
namespace {

// LIMIT: drivers that bind AF_XDP sockets without copying (Linux 6.12) and lose no offload of the
// socket path by native XDP. Others have XDP by choice: virtio_net gives up receive offloads for
// it, a veth takes TSO and USO from its other end.
constexpr std::array<std::string_view, 10> kZeroCopyDrivers = {
    "fsl_dpaa2_eth", "gve", "i40e", "ice", "igb", "igc", "ixgbe", "mlx5_core", "nfp", "st_gmac"};

bool IsZeroCopyDriver(const HostInterface& interface) {
  return std::ranges::find(kZeroCopyDrivers, interface.driver) != kZeroCopyDrivers.end();
}

template <typename Choice, size_t n>
absl::StatusOr<PerInterface<Choice>> ParseChoices(
    const std::vector<std::string>& words,
    const std::array<std::pair<std::string_view, Choice>, n>& values) {
  PerInterface<Choice> out;
  for (const std::string& word : words) {
    const size_t equals = word.find('=');
    const bool is_named = equals != std::string::npos;
    const std::string name = is_named ? word.substr(0, equals) : "";
    const std::string value = is_named ? word.substr(equals + 1) : word;
    const auto found =
        std::ranges::find(values, value, &std::pair<std::string_view, Choice>::first);
    if (found == values.end()) {
      std::string known;
      for (const auto& [text, choice] : values) {
        known += (known.empty() ? "" : ", ") + std::string(text);
      }
      return absl::InvalidArgumentError(fmt::format("\"{}\" is none of {}", value, known));
    }
    if (is_named && (name.empty() || name.size() >= IF_NAMESIZE)) {
      return absl::InvalidArgumentError(fmt::format("\"{}\" is no name of an interface", name));
    }
    if (is_named) {
      out.named.insert_or_assign(name, found->second);
    } else {
      out.others = found->second;
    }
  }
  return out;
}

void DecideMode(const HostInterface& interface, XdpChoice choice, PathChoice path,
                XdpDecision& out) {
  switch (choice) {
    case XdpChoice::kOff:
      out.reason = "switched off";
      return;
    case XdpChoice::kGeneric:
      out.mode = XdpMode::kGeneric;
      out.reason = "by choice";
      return;
    case XdpChoice::kNative:
      out.mode = XdpMode::kNative;
      out.reason = "by choice";
      break;
    case XdpChoice::kAuto:
      if (path == PathChoice::kAfxdp) {
        out.mode = XdpMode::kNative;
        out.reason = "for AF_XDP, by choice";
      } else if (IsZeroCopyDriver(interface)) {
        out.mode = XdpMode::kNative;
        out.reason = fmt::format("driver {} loses nothing by it", interface.driver);
      } else {
        out.reason = fmt::format("driver \"{}\" may lose offloads by it", interface.driver);
      }
      break;
  }
  if (out.mode && interface.driver == "veth") out.reason += "; costs its other end TSO and USO";
}

void DecideSockets(PathChoice choice, XdpDecision& out) {
  if (choice == PathChoice::kSocket) {
    out.socket_reason = "switched off";
  } else if (!out.mode) {
    out.socket_reason = "no XDP here: " + out.reason;
  } else if (*out.mode == XdpMode::kGeneric) {
    out.socket_reason = "generic XDP gives several datagrams as one, merged by GRO";
  } else {
    out.sockets =
        choice == PathChoice::kAfxdp ? SocketChoice::kZeroCopyOrCopy : SocketChoice::kZeroCopy;
  }
}

}  // namespace

absl::StatusOr<PerInterface<XdpChoice>> ParseXdpChoices(const std::vector<std::string>& words) {
  return ParseChoices<XdpChoice, 4>(words, {{{"auto", XdpChoice::kAuto},
                                             {"off", XdpChoice::kOff},
                                             {"native", XdpChoice::kNative},
                                             {"generic", XdpChoice::kGeneric}}});
}

absl::StatusOr<PerInterface<PathChoice>> ParsePathChoices(const std::vector<std::string>& words) {
  return ParseChoices<PathChoice, 3>(words, {{{"auto", PathChoice::kAuto},
                                              {"socket", PathChoice::kSocket},
                                              {"afxdp", PathChoice::kAfxdp}}});
}

XdpDecision DecideXdp(const HostInterface& interface, const XdpOptions& options) {
  const XdpChoice xdp = options.xdp.For(interface.name);
  const PathChoice path = options.path.For(interface.name);
  XdpDecision out{.named = xdp != XdpChoice::kAuto || path == PathChoice::kAfxdp};
  DecideMode(interface, xdp, path, out);
  DecideSockets(path, out);
  return out;
}

bool WantsXdp(const std::vector<HostInterface>& interfaces, const XdpOptions& options) {
  const auto asks = [](XdpChoice xdp, PathChoice path) {
    return xdp == XdpChoice::kNative || xdp == XdpChoice::kGeneric ||
           (xdp == XdpChoice::kAuto && path == PathChoice::kAfxdp);
  };
  if (asks(options.xdp.others, options.path.others)) return true;
  for (const auto& [name, choice] : options.xdp.named) {
    if (asks(choice, options.path.For(name))) return true;
  }
  for (const auto& [name, choice] : options.path.named) {
    if (asks(options.xdp.For(name), choice)) return true;
  }
  return std::ranges::any_of(interfaces, [&](const HostInterface& interface) {
    return DecideXdp(interface, options).mode.has_value();
  });
}

}  // namespace omni
