// SPDX-License-Identifier: Apache-2.0
// omni-bench-fill SOCKET COUNT ENDPOINT: gives a running dataplane COUNT more peers, each with one
// address (100.64.0.0/10) and one session whose other end is ENDPOINT and does not exist. Prints
// {"peers", "channels", "peer_bytes", "session_bytes"}: the last two are by how much the resident
// memory of the dataplane grew for each. It speaks the contract as a controller would, so the real
// controller must be stopped meanwhile: at its next look it puts everything back.
#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <sodium.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bpf/abi.h"
#include "common/ip.h"
#include "common/status.h"
#include "omni/dataplane/v1/dataplane.grpc.pb.h"

namespace omni {
namespace {

namespace api = ::omni::dataplane::v1;

// LIMIT: the hosts of 100.64.0.0/10 (RFC 6598).
constexpr uint32_t kMaxPeers = 1U << 22;
constexpr size_t kIdBytes = 16;
constexpr size_t kKeyBytes = 32;

std::string RandomBytes(size_t count) {
  std::string out(count, '\0');
  randombytes_buf(out.data(), out.size());
  return out;
}

class Filler {
 public:
  explicit Filler(std::string_view socket)
      : stub_(api::Dataplane::NewStub(grpc::CreateChannel(fmt::format("unix:{}", socket),
                                                          grpc::InsecureChannelCredentials()))) {}

  struct Cost {
    uint32_t channels = 0;
    double peer_bytes = 0;
    double session_bytes = 0;
  };

  absl::StatusOr<Cost> Fill(uint32_t count, const Endpoint& endpoint) {
    api::GetInfoResponse info;
    RETURN_IF_ERROR(Call("GetInfo", &api::Dataplane::Stub::GetInfo, api::GetInfoRequest(), info));
    channels_ = info.workers();
    api::GetStateResponse state;
    RETURN_IF_ERROR(
        Call("GetState", &api::Dataplane::Stub::GetState, api::GetStateRequest(), state));
    const double empty = ResidentBytes(info.pid());
    api::ApplyStateRequest change;
    change.set_base_generation(state.generation());
    change.set_generation(state.generation() + 1);
    const auto first = static_cast<uint32_t>(state.peers_size());
    for (uint32_t i = 0; i < count; ++i)
      *change.mutable_delta()->add_upsert() = MakePeer(first + i);
    api::ApplyStateResponse applied;
    RETURN_IF_ERROR(Call("ApplyState", &api::Dataplane::Stub::ApplyState, change, applied));
    const double with_peers = ResidentBytes(info.pid());
    for (const api::Peer& peer : change.delta().upsert()) {
      api::InstallSessionResponse installed;
      RETURN_IF_ERROR(Call("InstallSession", &api::Dataplane::Stub::InstallSession,
                           MakeSession(peer.peer_id(), endpoint), installed));
    }
    return Cost{.channels = channels_,
                .peer_bytes = (with_peers - empty) / count,
                .session_bytes = (ResidentBytes(info.pid()) - with_peers) / count};
  }

 private:
  template <typename Request, typename Response>
  absl::Status Call(std::string_view name,
                    grpc::Status (api::Dataplane::Stub::*method)(grpc::ClientContext*,
                                                                 const Request&, Response*),
                    const Request& request, Response& response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const grpc::Status status = (stub_.get()->*method)(&context, request, &response);
    if (status.ok()) return absl::OkStatus();
    return absl::InternalError(fmt::format("{}: {}", name, status.error_message()));
  }

  static double ResidentBytes(uint32_t pid) {
    std::ifstream file(fmt::format("/proc/{}/statm", pid));
    double total_pages = 0;
    double resident_pages = 0;
    file >> total_pages >> resident_pages;
    return resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE));
  }

  static api::Peer MakePeer(uint32_t number) {
    api::Peer peer;
    peer.set_peer_id(RandomBytes(kIdBytes));
    const uint32_t address = 0x64400000U + number;  // 100.64.0.0
    api::Prefix* prefix = peer.add_allowed();
    for (int shift = 24; shift >= 0; shift -= 8) {
      prefix->mutable_address()->push_back(static_cast<char>(address >> shift & 0xff));
    }
    prefix->set_length(32);
    return peer;
  }

  api::InstallSessionRequest MakeSession(const std::string& peer, const Endpoint& endpoint) const {
    api::InstallSessionRequest request;
    request.set_session_id(RandomBytes(kIdBytes));
    request.set_peer_id(peer);
    request.set_role(api::ROLE_INITIATOR);
    request.set_cipher(api::CIPHER_CHACHA20_POLY1305);
    const uint64_t receive_tag = RandomTag();
    const uint64_t send_tag = RandomTag();
    for (uint64_t index = 0; index < channels_; ++index) {
      AddChannel(*request.add_receive(), receive_tag, index);
      AddChannel(*request.add_send(), send_tag, index);
    }
    const auto raw = endpoint.address.raw();
    request.mutable_endpoint()->set_address(std::string(raw.begin(), raw.end()));
    request.mutable_endpoint()->set_port(endpoint.port);
    // The protocol's (docs/PROTOCOL.md).
    request.mutable_limits()->set_rekey_after_ms(120'000);
    request.mutable_limits()->set_reject_after_ms(180'000);
    request.mutable_limits()->set_keepalive_ms(10'000);
    request.mutable_limits()->set_rekey_on_receive_ms(165'000);
    request.mutable_limits()->set_no_reply_ms(15'000);
    return request;
  }

  static uint64_t RandomTag() {
    uint64_t tag;
    randombytes_buf(&tag, sizeof(tag));
    return tag << 16;
  }

  static void AddChannel(api::Channel& channel, uint64_t tag, uint64_t index) {
    channel.set_id(tag | index << 8 | OMNI_MSG_DATA);
    channel.set_key(RandomBytes(kKeyBytes));
  }

  std::unique_ptr<api::Dataplane::Stub> stub_;
  uint32_t channels_ = 0;
};

absl::Status Run(std::span<const std::string_view> words) {
  uint32_t count = 0;
  const auto endpoint = words.size() == 3 ? Endpoint::Parse(words[2]) : std::nullopt;
  if (endpoint) std::from_chars(words[1].data(), words[1].data() + words[1].size(), count);
  if (count == 0 || count > kMaxPeers) {
    return absl::InvalidArgumentError("usage: omni-bench-fill SOCKET COUNT ENDPOINT");
  }
  if (sodium_init() < 0) return absl::InternalError("libsodium did not initialise");
  const auto cost = Filler(words[0]).Fill(count, *endpoint);
  if (!cost.ok()) return cost.status();
  fmt::print(
      "{{\"peers\": {}, \"channels\": {}, \"peer_bytes\": {:.0f}, \"session_bytes\": {:.0f}}}\n",
      count, cost->channels, cost->peer_bytes, cost->session_bytes);
  return absl::OkStatus();
}

}  // namespace
}  // namespace omni

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  const absl::Status status = omni::Run(words);
  if (status.ok()) return 0;
  fmt::print(stderr, "omni-bench-fill: {}\n", omni::Message(status));
  return 1;
}
