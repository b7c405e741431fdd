// SPDX-License-Identifier: Apache-2.0
// Which ways packets may take, as people say it: on the dataplane's command line, in the
// controller's configuration and to its API. PathWishes is what one of them says, PathSettings what
// comes out of it. Pure values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace omni {

enum class XdpChoice : uint8_t { kAuto, kOff, kNative, kGeneric };
enum class PathChoice : uint8_t { kAuto, kSocket, kAfxdp };
// Whether small packets are opened and sealed inside the kernel. Auto: if it can be.
enum class InKernel : uint8_t { kAuto, kOn, kOff };
// Whether workers sleep while nothing comes, or look again and again.
enum class Polling : uint8_t { kSleep, kBusy };

// What is said for interfaces by name, and for all others.
template <typename Choice>
struct PerInterface {
  Choice others = Choice::kAuto;
  std::map<std::string, Choice, std::less<>> named;

  Choice For(std::string_view interface) const {
    const auto found = named.find(interface);
    return found == named.end() ? others : found->second;
  }
  friend bool operator==(const PerInterface&, const PerInterface&) = default;
};

// LIMIT: interfaces that may be named; a machine with more says it for all others.
inline constexpr size_t kMaxNamedInterfaces = 256;
// LIMIT: a packet of the kernel's path is to fit through any path without a look at its MTU: 1,280
// bytes less the outer headers of IPv6.
inline constexpr uint32_t kMaxInKernelThreshold = 1200;

struct PathSettings {
  PerInterface<PathChoice> path;
  PerInterface<XdpChoice> xdp;
  InKernel in_kernel = InKernel::kAuto;
  uint32_t in_kernel_threshold = 512;
  Polling polling = Polling::kSleep;

  friend bool operator==(const PathSettings&, const PathSettings&) = default;
};

// What is not said stays as it is.
struct PathWishes {
  std::optional<PerInterface<PathChoice>> path;
  std::optional<PerInterface<XdpChoice>> xdp;
  std::optional<InKernel> in_kernel;
  std::optional<uint32_t> in_kernel_threshold;
  std::optional<Polling> polling;

  // What `stronger` says, and where it says nothing, what this says.
  PathWishes OverlaidBy(const PathWishes& stronger) const;
  PathSettings On(const PathSettings& settings) const;
  friend bool operator==(const PathWishes&, const PathWishes&) = default;
};

// "VALUE" and "INTERFACE=VALUE", separated by commas, the later ones win. INVALID_ARGUMENT names
// the word.
absl::StatusOr<PerInterface<XdpChoice>> ParseXdpChoices(std::string_view text);
absl::StatusOr<PerInterface<PathChoice>> ParsePathChoices(std::string_view text);
absl::StatusOr<InKernel> ParseInKernel(std::string_view text);
absl::StatusOr<Polling> ParsePolling(std::string_view text);
absl::StatusOr<uint32_t> CheckInKernelThreshold(int64_t bytes);

// The same back: the values for all others first.
std::string ToText(const PerInterface<XdpChoice>& choices);
std::string ToText(const PerInterface<PathChoice>& choices);
std::string_view ToText(InKernel choice);
std::string_view ToText(Polling choice);

// Whether the kernel could have an interface of this name (IFNAMSIZ, no slash, no white space).
bool IsInterfaceName(std::string_view name);

}  // namespace omni
