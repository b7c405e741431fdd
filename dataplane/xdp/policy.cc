// SPDX-License-Identifier: Apache-2.0
#include "dataplane/xdp/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

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

XdpDecision DecideXdp(const HostInterface& interface, const PathSettings& settings) {
  const XdpChoice xdp = settings.xdp.For(interface.name);
  const PathChoice path = settings.path.For(interface.name);
  XdpDecision out{.named = xdp != XdpChoice::kAuto || path == PathChoice::kAfxdp};
  DecideMode(interface, xdp, path, out);
  DecideSockets(path, out);
  return out;
}

bool WantsXdp(const std::vector<HostInterface>& interfaces, const PathSettings& settings) {
  const auto asks = [](XdpChoice xdp, PathChoice path) {
    return xdp == XdpChoice::kNative || xdp == XdpChoice::kGeneric ||
           (xdp == XdpChoice::kAuto && path == PathChoice::kAfxdp);
  };
  if (asks(settings.xdp.others, settings.path.others)) return true;
  for (const auto& [name, choice] : settings.xdp.named) {
    if (asks(choice, settings.path.For(name))) return true;
  }
  for (const auto& [name, choice] : settings.path.named) {
    if (asks(settings.xdp.For(name), choice)) return true;
  }
  return std::ranges::any_of(interfaces, [&](const HostInterface& interface) {
    return DecideXdp(interface, settings).mode.has_value();
  });
}

bool ExcludesXdp(const PathSettings& settings) {
  return settings.xdp.others == XdpChoice::kOff &&
         std::ranges::all_of(settings.xdp.named,
                             [](const auto& named) { return named.second == XdpChoice::kOff; });
}

}  // namespace omni
