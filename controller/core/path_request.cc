// SPDX-License-Identifier: Apache-2.0
#include "controller/core/path_request.h"

#include <fmt/format.h>
#include <google/protobuf/util/json_util.h>

#include "common/file.h"
#include "common/status.h"

namespace omni {
namespace {

namespace api = control::v1;
namespace dp = dataplane::v1;
namespace json = google::protobuf::util;

// LIMIT: 256 named interfaces twice are 12 KiB.
constexpr size_t kMaxPathsFile = size_t{64} << 10;

template <typename T>
absl::Status Read(std::string_view field, const std::string& text, std::optional<T>& into,
                  absl::StatusOr<T> (*parse)(std::string_view)) {
  if (text.empty()) return absl::OkStatus();
  auto parsed = parse(text);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", field, Message(parsed.status())));
  }
  into = *std::move(parsed);
  return absl::OkStatus();
}

// The contract's enums begin with one for "not said".
template <typename Theirs, typename Ours>
Theirs Write(Ours value) {
  return static_cast<Theirs>(static_cast<int>(value) + 1);
}
template <typename Ours, typename Theirs>
std::optional<Ours> Known(Theirs value, Theirs last) {
  if (value < 1 || value > last) return std::nullopt;
  return static_cast<Ours>(static_cast<int>(value) - 1);
}
static_assert(static_cast<int>(PathChoice::kAfxdp) + 1 == dp::PATH_CHOICE_AFXDP);
static_assert(static_cast<int>(XdpChoice::kGeneric) + 1 == dp::XDP_CHOICE_GENERIC);
static_assert(static_cast<int>(InKernel::kOff) + 1 == dp::IN_KERNEL_OFF);
static_assert(static_cast<int>(Polling::kBusy) + 1 == dp::POLLING_BUSY);

template <typename Theirs, typename Ours, typename Choices>
void WriteChoices(const PerInterface<Ours>& choices, Choices& out) {
  out.set_others(Write<Theirs>(choices.others));
  for (const auto& [name, choice] : choices.named) {
    (*out.mutable_interfaces())[name] = Write<Theirs>(choice);
  }
}

template <typename Ours, typename Theirs, typename Choices>
PerInterface<Ours> ReadChoices(const Choices& choices, Theirs last) {
  PerInterface<Ours> out;
  out.others = Known<Ours>(choices.others(), last).value_or(out.others);
  for (const auto& entry : choices.interfaces()) {
    const auto choice = Known<Ours>(static_cast<Theirs>(entry.second), last);
    if (choice) out.named.emplace(entry.first, *choice);
  }
  return out;
}

}  // namespace

absl::StatusOr<PathWishes> CheckPathSettings(const api::PathSettings& settings) {
  PathWishes out;
  RETURN_IF_ERROR(Read("path", settings.path(), out.path, ParsePathChoices));
  RETURN_IF_ERROR(Read("xdp", settings.xdp(), out.xdp, ParseXdpChoices));
  RETURN_IF_ERROR(Read("in_kernel", settings.in_kernel(), out.in_kernel, ParseInKernel));
  RETURN_IF_ERROR(Read("polling", settings.polling(), out.polling, ParsePolling));
  if (settings.has_in_kernel_threshold()) {
    const auto threshold = CheckInKernelThreshold(settings.in_kernel_threshold());
    if (!threshold.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("in_kernel_threshold: {}", Message(threshold.status())));
    }
    out.in_kernel_threshold = *threshold;
  }
  return out;
}

api::PathSettings ToRequest(const PathWishes& wishes) {
  api::PathSettings out;
  if (wishes.path) out.set_path(ToText(*wishes.path));
  if (wishes.xdp) out.set_xdp(ToText(*wishes.xdp));
  if (wishes.in_kernel) out.set_in_kernel(std::string(ToText(*wishes.in_kernel)));
  if (wishes.in_kernel_threshold) out.set_in_kernel_threshold(*wishes.in_kernel_threshold);
  if (wishes.polling) out.set_polling(std::string(ToText(*wishes.polling)));
  return out;
}

dp::Paths ToProto(const PathWishes& wishes) {
  dp::Paths out;
  if (wishes.path) WriteChoices<dp::PathChoice>(*wishes.path, *out.mutable_path());
  if (wishes.xdp) WriteChoices<dp::XdpChoice>(*wishes.xdp, *out.mutable_xdp());
  if (wishes.in_kernel) out.set_in_kernel(Write<dp::InKernel>(*wishes.in_kernel));
  if (wishes.in_kernel_threshold) out.set_in_kernel_threshold(*wishes.in_kernel_threshold);
  if (wishes.polling) out.set_polling(Write<dp::Polling>(*wishes.polling));
  return out;
}

PathWishes FromProto(const dp::Paths& paths) {
  PathWishes out;
  if (paths.has_path()) out.path = ReadChoices<PathChoice>(paths.path(), dp::PATH_CHOICE_AFXDP);
  if (paths.has_xdp()) out.xdp = ReadChoices<XdpChoice>(paths.xdp(), dp::XDP_CHOICE_GENERIC);
  out.in_kernel = Known<InKernel>(paths.in_kernel(), dp::IN_KERNEL_OFF);
  if (paths.has_in_kernel_threshold()) out.in_kernel_threshold = paths.in_kernel_threshold();
  out.polling = Known<Polling>(paths.polling(), dp::POLLING_BUSY);
  return out;
}

absl::StatusOr<PathWishes> ReadPathsFile(const std::string& file) {
  auto content = ReadFile(file, kMaxPathsFile, FileAccess::kOwnerOnly);
  if (absl::IsNotFound(content.status())) return PathWishes();
  if (!content.ok()) return content.status();
  api::PathSettings settings;
  if (const auto status = json::JsonStringToMessage(*content, &settings); !status.ok()) {
    return absl::InvalidArgumentError(fmt::format("read {}: {}", file, status.ToString()));
  }
  auto wishes = CheckPathSettings(settings);
  if (!wishes.ok()) return Annotate(wishes.status(), fmt::format("read {}", file));
  return wishes;
}

absl::Status WritePathsFile(const std::string& file, const PathWishes& wishes) {
  json::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = true;
  std::string text;
  if (const auto status = json::MessageToJsonString(ToRequest(wishes), &text, options);
      !status.ok()) {
    return absl::InternalError(fmt::format("write {}: {}", file, status.ToString()));
  }
  return WriteFileAtomically(file, text, 0600, Overwrite::kYes);
}

}  // namespace omni
