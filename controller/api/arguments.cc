// SPDX-License-Identifier: Apache-2.0
#include "controller/api/arguments.h"

#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "absl/strings/numbers.h"
#include "common/status.h"

namespace omni {
namespace {

// LIMIT: the 24 bytes that every echo has, and with them the largest padding of the dataplane
// contract.
constexpr uint32_t kMinEcho = 24;
constexpr uint32_t kMaxEcho = kMinEcho + 64'900;
constexpr uint32_t kMaxCount = 1'000'000;
// LIMIT: longer than anybody waits.
constexpr int64_t kMaxSeconds = 3600;

absl::StatusOr<Duration> CheckDuration(std::string_view field,
                                       const google::protobuf::Duration& value) {
  const bool sane = value.seconds() >= 0 && value.seconds() <= kMaxSeconds && value.nanos() >= 0 &&
                    value.nanos() < 1'000'000'000;
  const Duration duration =
      sane ? std::chrono::seconds(value.seconds()) + std::chrono::nanoseconds(value.nanos()) : 0ns;
  if (duration < 1ms) {
    return absl::InvalidArgumentError(
        fmt::format("{}: must be within 1 ms and {} s", field, kMaxSeconds));
  }
  return duration;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(Message(status))};
}

absl::StatusOr<Peer*> LookUpPeer(const PeerTable& peers, const std::string& text) {
  if (const std::string cause = CheckPeerName(text); !cause.empty()) {
    return absl::InvalidArgumentError(fmt::format("peer: {}, nor a node id", cause));
  }
  Peer* peer = peers.Find(text);
  if (peer == nullptr) {
    return absl::NotFoundError(fmt::format("peer: there is no peer \"{}\"", text));
  }
  return peer;
}

absl::StatusOr<PingPlan> CheckPing(const control::v1::PingRequest& request) {
  PingPlan plan;
  if (request.count() > kMaxCount) {
    return absl::InvalidArgumentError(
        fmt::format("count: {} is not within 1-{}", request.count(), kMaxCount));
  }
  if (request.count() != 0) plan.count = request.count();
  if (request.has_interval()) {
    ASSIGN_OR_RETURN(plan.interval, CheckDuration("interval", request.interval()));
  }
  if (request.has_timeout()) {
    ASSIGN_OR_RETURN(plan.timeout, CheckDuration("timeout", request.timeout()));
  }
  if (request.size() != 0) {
    if (request.size() < kMinEcho || request.size() > kMaxEcho) {
      return absl::InvalidArgumentError(
          fmt::format("size: {} is not within {}-{}", request.size(), kMinEcho, kMaxEcho));
    }
    plan.padding = request.size() - kMinEcho;
  }
  return plan;
}

namespace {

// IP's number of a protocol, by name or as a number.
std::optional<uint32_t> ProtocolNumber(const std::string& text, bool v4) {
  if (text.empty() || text == "icmp") return v4 ? 1 : 58;
  if (text == "tcp") return 6;
  if (text == "udp") return 17;
  uint32_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number > 255) return std::nullopt;
  return number;
}

}  // namespace

absl::StatusOr<dataplane::v1::ExplainPacketRequest> CheckExplain(
    const control::v1::ExplainPacketRequest& request) {
  const auto destination = IpAddress::Parse(request.destination());
  if (!destination) {
    return absl::InvalidArgumentError(
        fmt::format("destination: \"{}\" is no IP address", request.destination()));
  }
  const bool v4 = destination->is_v4();
  const uint32_t size = request.size() == 0 ? 84 : request.size();
  if (size < (v4 ? 20U : 40U) || size > 65535) {
    return absl::InvalidArgumentError(
        fmt::format("size: {} is not within {}-65535", size, v4 ? 20 : 40));
  }
  const auto protocol = ProtocolNumber(request.protocol(), v4);
  if (!protocol) {
    return absl::InvalidArgumentError(fmt::format(
        "protocol: \"{}\" is none of icmp, udp, tcp, nor within 0-255", request.protocol()));
  }
  dataplane::v1::ExplainPacketRequest out;
  out.set_destination(AsString(destination->raw()));
  out.set_size(size);
  out.set_protocol(*protocol);
  return out;
}

absl::StatusOr<TracePlan> CheckTrace(const PeerTable& peers,
                                     const control::v1::TraceRequest& request) {
  TracePlan out;
  if (request.packets() > 100'000) {
    return absl::InvalidArgumentError(
        fmt::format("packets: {} is not within 1-100000", request.packets()));
  }
  if (request.packets() > 0) out.packets = request.packets();
  if (!request.peer().empty()) {
    ASSIGN_OR_RETURN(const Peer* peer, LookUpPeer(peers, request.peer()));
    out.ask.set_peer_id(peer->id().ToBytes());
  }
  out.ask.set_drops_only(request.drops_only());
  return out;
}

}  // namespace omni
