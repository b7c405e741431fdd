// SPDX-License-Identifier: Apache-2.0
// Paths of the contract and back, and questions about packets.
#include <fmt/format.h>

#include "common/encoding.h"
#include "common/status.h"
#include "dataplane/api/convert.h"

namespace omni {
namespace {

// One enum of the contract and ours: their numbers differ by the unspecified one.
template <typename Ours, typename Theirs>
absl::StatusOr<Ours> Read(Theirs value, Theirs last, std::string_view field) {
  if (value > 0 && value <= last) return static_cast<Ours>(static_cast<int>(value) - 1);
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is not known", field, static_cast<int>(value)));
}
template <typename Theirs, typename Ours>
Theirs Write(Ours value) {
  return static_cast<Theirs>(static_cast<int>(value) + 1);
}
static_assert(static_cast<int>(PathChoice::kAfxdp) + 1 == v1::PATH_CHOICE_AFXDP);
static_assert(static_cast<int>(XdpChoice::kGeneric) + 1 == v1::XDP_CHOICE_GENERIC);
static_assert(static_cast<int>(InKernel::kOff) + 1 == v1::IN_KERNEL_OFF);
static_assert(static_cast<int>(Polling::kBusy) + 1 == v1::POLLING_BUSY);

template <typename Ours, typename Choices, typename Theirs>
absl::StatusOr<PerInterface<Ours>> ReadChoices(const Choices& choices, Theirs last,
                                               std::string_view field) {
  PerInterface<Ours> out;
  ASSIGN_OR_RETURN(out.others, Read<Ours>(choices.others(), last, fmt::format("{}.others", field)));
  if (choices.interfaces().size() > kMaxNamedInterfaces) {
    return absl::InvalidArgumentError(
        fmt::format("{}.interfaces: more than {}", field, kMaxNamedInterfaces));
  }
  for (const auto& entry : choices.interfaces()) {
    if (!IsInterfaceName(entry.first)) {
      return absl::InvalidArgumentError(
          fmt::format("{}.interfaces: a name that no interface can have", field));
    }
    ASSIGN_OR_RETURN(const Ours choice,
                     Read<Ours>(static_cast<Theirs>(entry.second), last,
                                fmt::format("{}.interfaces[{}]", field, entry.first)));
    out.named.emplace(entry.first, choice);
  }
  return out;
}

template <typename Theirs, typename Ours, typename Choices>
void WriteChoices(const PerInterface<Ours>& choices, Choices& out) {
  out.set_others(Write<Theirs>(choices.others));
  for (const auto& [name, choice] : choices.named) {
    (*out.mutable_interfaces())[name] = Write<Theirs>(choice);
  }
}

}  // namespace

absl::StatusOr<PathWishes> ReadPaths(const v1::Paths& paths, std::string_view field) {
  PathWishes out;
  if (paths.has_path()) {
    ASSIGN_OR_RETURN(out.path, ReadChoices<PathChoice>(paths.path(), v1::PATH_CHOICE_AFXDP,
                                                       fmt::format("{}.path", field)));
  }
  if (paths.has_xdp()) {
    ASSIGN_OR_RETURN(out.xdp, ReadChoices<XdpChoice>(paths.xdp(), v1::XDP_CHOICE_GENERIC,
                                                     fmt::format("{}.xdp", field)));
  }
  if (paths.in_kernel() != v1::IN_KERNEL_UNSPECIFIED) {
    ASSIGN_OR_RETURN(out.in_kernel, Read<InKernel>(paths.in_kernel(), v1::IN_KERNEL_OFF,
                                                   fmt::format("{}.in_kernel", field)));
  }
  if (paths.has_in_kernel_threshold()) {
    const auto threshold = CheckInKernelThreshold(paths.in_kernel_threshold());
    if (!threshold.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("{}.in_kernel_threshold: {}", field, Message(threshold.status())));
    }
    out.in_kernel_threshold = *threshold;
  }
  if (paths.polling() != v1::POLLING_UNSPECIFIED) {
    ASSIGN_OR_RETURN(out.polling, Read<Polling>(paths.polling(), v1::POLLING_BUSY,
                                                fmt::format("{}.polling", field)));
  }
  return out;
}

v1::Paths WritePaths(const PathSettings& settings) {
  v1::Paths out;
  WriteChoices<v1::PathChoice>(settings.path, *out.mutable_path());
  WriteChoices<v1::XdpChoice>(settings.xdp, *out.mutable_xdp());
  out.set_in_kernel(Write<v1::InKernel>(settings.in_kernel));
  out.set_in_kernel_threshold(settings.in_kernel_threshold);
  out.set_polling(Write<v1::Polling>(settings.polling));
  return out;
}

absl::StatusOr<PacketQuestion> ReadQuestion(const v1::ExplainPacketRequest& request) {
  const auto destination = IpAddress::FromBytes(AsBytes(request.destination()));
  if (!destination || destination->raw().size() != request.destination().size()) {
    return absl::InvalidArgumentError("destination: is no address");
  }
  const uint32_t least = destination->is_v4() ? 20 : 40;
  if (request.size() < least || request.size() > 65535) {
    return absl::InvalidArgumentError(
        fmt::format("size: {} is not within {}-65535", request.size(), least));
  }
  if (request.protocol() > 255) {
    return absl::InvalidArgumentError(fmt::format("protocol: {} is above 255", request.protocol()));
  }
  return PacketQuestion{.destination = *destination,
                        .bytes = request.size(),
                        .protocol = static_cast<uint8_t>(request.protocol())};
}

// absl and gRPC number their codes alike.
grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(Message(status))};
}

}  // namespace omni
