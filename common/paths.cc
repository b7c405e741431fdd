// SPDX-License-Identifier: Apache-2.0
#include "common/paths.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <utility>

#include "common/status.h"

namespace omni {
namespace {

template <typename Choice, size_t n>
using Names = std::array<std::pair<std::string_view, Choice>, n>;

constexpr Names<XdpChoice, 4> kXdpNames = {{{"auto", XdpChoice::kAuto},
                                            {"off", XdpChoice::kOff},
                                            {"native", XdpChoice::kNative},
                                            {"generic", XdpChoice::kGeneric}}};
constexpr Names<PathChoice, 3> kPathNames = {
    {{"auto", PathChoice::kAuto}, {"socket", PathChoice::kSocket}, {"afxdp", PathChoice::kAfxdp}}};
constexpr Names<InKernel, 3> kInKernelNames = {
    {{"auto", InKernel::kAuto}, {"on", InKernel::kOn}, {"off", InKernel::kOff}}};
constexpr Names<Polling, 2> kPollingNames = {
    {{"sleep", Polling::kSleep}, {"busy", Polling::kBusy}}};

template <typename Choice, size_t n>
absl::StatusOr<Choice> Parse(std::string_view text, const Names<Choice, n>& names) {
  std::string known;
  for (const auto& [name, choice] : names) {
    if (text == name) return choice;
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  return absl::InvalidArgumentError(fmt::format("\"{}\" is none of {}", text, known));
}

template <typename Choice, size_t n>
std::string_view NameOf(Choice choice, const Names<Choice, n>& names) {
  for (const auto& [name, known] : names) {
    if (choice == known) return name;
  }
  return "?";
}

template <typename Choice, size_t n>
absl::StatusOr<PerInterface<Choice>> ParseChoices(std::string_view text,
                                                  const Names<Choice, n>& names) {
  PerInterface<Choice> out;
  for (;;) {
    const size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    const size_t equals = word.find('=');
    const bool is_named = equals != std::string_view::npos;
    const std::string_view name = is_named ? word.substr(0, equals) : "";
    ASSIGN_OR_RETURN(const Choice choice, Parse(is_named ? word.substr(equals + 1) : word, names));
    if (is_named && !IsInterfaceName(name)) {
      return absl::InvalidArgumentError(fmt::format("\"{}\" is no name of an interface", name));
    }
    if (is_named) {
      out.named.insert_or_assign(std::string(name), choice);
    } else {
      out.others = choice;
    }
    if (out.named.size() > kMaxNamedInterfaces) {
      return absl::InvalidArgumentError(
          fmt::format("more than {} interfaces are named", kMaxNamedInterfaces));
    }
    if (comma == std::string_view::npos) return out;
    text.remove_prefix(comma + 1);
  }
}

template <typename Choice, size_t n>
std::string TextOf(const PerInterface<Choice>& choices, const Names<Choice, n>& names) {
  std::string out(NameOf(choices.others, names));
  for (const auto& [interface, choice] : choices.named) {
    out += fmt::format(",{}={}", interface, NameOf(choice, names));
  }
  return out;
}

template <typename T>
void Overlay(std::optional<T>& below, const std::optional<T>& stronger) {
  if (stronger) below = stronger;
}

}  // namespace

bool IsInterfaceName(std::string_view name) {
  const auto is_odd = [](char c) {
    return c <= ' ' || c == '/' || c == ',' || c == '=' || c > '~';
  };
  return !name.empty() && name.size() < IF_NAMESIZE && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(), is_odd);
}

absl::StatusOr<PerInterface<XdpChoice>> ParseXdpChoices(std::string_view text) {
  return ParseChoices(text, kXdpNames);
}
absl::StatusOr<PerInterface<PathChoice>> ParsePathChoices(std::string_view text) {
  return ParseChoices(text, kPathNames);
}
absl::StatusOr<InKernel> ParseInKernel(std::string_view text) {
  return Parse(text, kInKernelNames);
}
absl::StatusOr<Polling> ParsePolling(std::string_view text) { return Parse(text, kPollingNames); }

absl::StatusOr<uint32_t> CheckInKernelThreshold(int64_t bytes) {
  if (bytes >= 0 && bytes <= kMaxInKernelThreshold) return static_cast<uint32_t>(bytes);
  return absl::InvalidArgumentError(
      fmt::format("{} is not within 0-{}", bytes, kMaxInKernelThreshold));
}

std::string ToText(const PerInterface<XdpChoice>& choices) { return TextOf(choices, kXdpNames); }
std::string ToText(const PerInterface<PathChoice>& choices) { return TextOf(choices, kPathNames); }
std::string_view ToText(InKernel choice) { return NameOf(choice, kInKernelNames); }
std::string_view ToText(Polling choice) { return NameOf(choice, kPollingNames); }

PathWishes PathWishes::OverlaidBy(const PathWishes& stronger) const {
  PathWishes out = *this;
  Overlay(out.path, stronger.path);
  Overlay(out.xdp, stronger.xdp);
  Overlay(out.in_kernel, stronger.in_kernel);
  Overlay(out.in_kernel_threshold, stronger.in_kernel_threshold);
  Overlay(out.polling, stronger.polling);
  return out;
}

PathSettings PathWishes::On(const PathSettings& settings) const {
  return {.path = path.value_or(settings.path),
          .xdp = xdp.value_or(settings.xdp),
          .in_kernel = in_kernel.value_or(settings.in_kernel),
          .in_kernel_threshold = in_kernel_threshold.value_or(settings.in_kernel_threshold),
          .polling = polling.value_or(settings.polling)};
}

}  // namespace omni
