// SPDX-License-Identifier: Apache-2.0
// omni-bench-load receive ENDPOINT      "ready", then {"packets", "bytes", "seconds"}
// omni-bench-load send ENDPOINT BYTES PPS SECONDS      {"sent", "refused", "seconds"}
// omni-bench-load flood ENDPOINT BYTES PPS SECONDS     the same, of garbage
// omni-bench-load ping ADDRESS INTERVAL_US SECONDS     {"rtt_us": [...], "lost"}
#include <fmt/core.h>
#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "benchmarks/load/load.h"
#include "common/status.h"

namespace omni {
namespace {

constexpr std::string_view kUsage =
    "usage: omni-bench-load receive ENDPOINT | send|flood ENDPOINT BYTES PPS SECONDS | "
    "ping ADDRESS INTERVAL_US SECONDS";

std::optional<double> Number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value <= 0 || value > 1e9) {
    return std::nullopt;
  }
  return value;
}

absl::Status RunReceive(std::string_view at) {
  const auto endpoint = Endpoint::Parse(at);
  if (!endpoint) return absl::InvalidArgumentError(kUsage.data());
  const auto result = ReceiveLoad(*endpoint);
  if (!result.ok()) return result.status();
  fmt::print("{{\"packets\": {}, \"bytes\": {}, \"seconds\": {:.6f}}}\n", result->packets,
             result->bytes, result->seconds);
  return absl::OkStatus();
}

absl::Status RunSend(std::span<const std::string_view> words, LoadContent content) {
  const auto endpoint = Endpoint::Parse(words[0]);
  const auto bytes = Number(words[1]);
  const auto rate = Number(words[2]);
  const auto seconds = Number(words[3]);
  if (!endpoint || !bytes || !rate || !seconds) return absl::InvalidArgumentError(kUsage.data());
  const auto result = SendLoad({.to = *endpoint,
                                .content = content,
                                .bytes = static_cast<uint32_t>(*bytes),
                                .packets_per_second = *rate,
                                .duration = std::chrono::duration<double>(*seconds)});
  if (!result.ok()) return result.status();
  fmt::print("{{\"sent\": {}, \"refused\": {}, \"seconds\": {:.6f}}}\n", result->sent,
             result->refused, result->seconds);
  return absl::OkStatus();
}

absl::Status RunPing(std::span<const std::string_view> words) {
  const auto address = IpAddress::Parse(words[0]);
  const auto interval = Number(words[1]);
  const auto seconds = Number(words[2]);
  if (!address || !interval || !seconds) return absl::InvalidArgumentError(kUsage.data());
  const auto result = Ping(*address, std::chrono::microseconds(static_cast<int64_t>(*interval)),
                           std::chrono::duration<double>(*seconds));
  if (!result.ok()) return result.status();
  fmt::print("{{\"rtt_us\": [{:.1f}], \"lost\": {}}}\n", fmt::join(result->microseconds, ", "),
             result->lost);
  return absl::OkStatus();
}

absl::Status Run(std::span<const std::string_view> words) {
  if (words.size() == 2 && words[0] == "receive") return RunReceive(words[1]);
  if (words.size() == 5 && words[0] == "send") {
    return RunSend(words.subspan(1), LoadContent::kCounted);
  }
  if (words.size() == 5 && words[0] == "flood") {
    return RunSend(words.subspan(1), LoadContent::kGarbage);
  }
  if (words.size() == 4 && words[0] == "ping") return RunPing(words.subspan(1));
  return absl::InvalidArgumentError(kUsage.data());
}

}  // namespace
}  // namespace omni

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  const absl::Status status = omni::Run(words);
  if (status.ok()) return 0;
  fmt::print(stderr, "omni-bench-load: {}\n", omni::Message(status));
  return 1;
}
