// SPDX-License-Identifier: Apache-2.0
#include "controller/core/peer_request.h"

#include <fmt/format.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "common/file.h"
#include "common/status.h"

namespace omni {
namespace {

using control::v1::AddPeerRequest;
namespace json = google::protobuf::util;

// LIMIT: some 100,000 peers.
constexpr size_t kMaxPeersFile = size_t{64} << 20;

absl::Status Invalid(std::string_view field, std::string_view cause) {
  return absl::InvalidArgumentError(fmt::format("{}: {}", field, cause));
}

absl::StatusOr<std::vector<IpPrefix>> CheckPrefixes(const AddPeerRequest& request,
                                                    const std::vector<InterfaceAddress>& own) {
  std::vector<IpPrefix> prefixes;
  if (request.allowed().empty()) return Invalid("allowed", "must hold at least one prefix");
  if (static_cast<size_t>(request.allowed_size()) > kMaxAllowedPerPeer) {
    return Invalid("allowed", fmt::format("a peer has at most {} prefixes", kMaxAllowedPerPeer));
  }
  for (int i = 0; i < request.allowed_size(); ++i) {
    const std::string field = fmt::format("allowed[{}]", i);
    const auto prefix = IpPrefix::Parse(request.allowed(i));
    if (!prefix) {
      return Invalid(
          field, fmt::format("\"{}\" is not ADDRESS/LENGTH without host bits", request.allowed(i)));
    }
    if (const std::string cause = CheckAllowed(*prefix, own); !cause.empty()) {
      return Invalid(field, cause);
    }
    if (std::ranges::find(prefixes, *prefix) != prefixes.end()) {
      return Invalid(field, fmt::format("{} is listed twice", prefix->ToString()));
    }
    prefixes.push_back(*prefix);
  }
  return prefixes;
}

}  // namespace

absl::StatusOr<PeerSpec> CheckPeerRequest(const AddPeerRequest& request,
                                          const std::vector<InterfaceAddress>& own) {
  if (const std::string cause = CheckPeerName(request.name()); !cause.empty()) {
    return Invalid("name", cause);
  }
  auto key = PeerKey::Parse(request.key());
  if (!key.ok()) return Invalid("key", Message(key.status()));
  Endpoint endpoint;
  if (!request.endpoint().empty()) {
    const auto parsed = Endpoint::Parse(request.endpoint());
    if (!parsed) {
      return Invalid("endpoint", fmt::format("\"{}\" is not IP:PORT, such as 192.0.2.7:51900",
                                             request.endpoint()));
    }
    if (const std::string cause = CheckEndpoint(*parsed); !cause.empty()) {
      return Invalid("endpoint", cause);
    }
    endpoint = *parsed;
  }
  ASSIGN_OR_RETURN(std::vector<IpPrefix> allowed, CheckPrefixes(request, own));
  std::optional<Key32> psk;
  if (!request.psk().empty()) {
    const auto bytes = AsBytes(request.psk());
    if (bytes.size() != Key32::size()) {
      return Invalid("psk", fmt::format("has {} bytes; must have 32, or none", bytes.size()));
    }
    psk.emplace(bytes.first<32>());
  }
  if (request.persistent_keepalive_s() > 65535) {
    return Invalid("persistent_keepalive_s",
                   fmt::format("{} is not within 0-65535", request.persistent_keepalive_s()));
  }
  return PeerSpec{.name = request.name(),
                  .key = *key,
                  .endpoint = endpoint,
                  .allowed = std::move(allowed),
                  .psk = std::move(psk),
                  .keepalive_s = static_cast<uint16_t>(request.persistent_keepalive_s())};
}

AddPeerRequest ToRequest(const PeerSpec& spec) {
  AddPeerRequest request;
  request.set_name(spec.name);
  request.set_key(spec.key.ToString());
  if (spec.endpoint.is_set()) request.set_endpoint(spec.endpoint.ToString());
  for (const IpPrefix& prefix : spec.allowed) request.add_allowed(prefix.ToString());
  if (spec.psk) request.set_psk(spec.psk->data(), Key32::size());
  request.set_persistent_keepalive_s(spec.keepalive_s);
  return request;
}

absl::StatusOr<std::vector<AddPeerRequest>> ReadPeersFile(const std::string& file) {
  auto content = ReadFile(file, kMaxPeersFile, FileAccess::kOwnerOnly);
  if (absl::IsNotFound(content.status())) return std::vector<AddPeerRequest>();
  if (!content.ok()) return content.status();
  // The array first, then each element: the JSON mapping has no list of messages at the top.
  google::protobuf::ListValue list;
  if (const auto status = json::JsonStringToMessage(*content, &list); !status.ok()) {
    return absl::InvalidArgumentError(fmt::format("read {}: {}", file, status.ToString()));
  }
  std::vector<AddPeerRequest> peers;
  for (int i = 0; i < list.values_size(); ++i) {
    std::string element;
    AddPeerRequest request;
    auto status = json::MessageToJsonString(list.values(i), &element);
    if (status.ok()) status = json::JsonStringToMessage(element, &request);
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          fmt::format("read {}: peer {}: {}", file, i, status.ToString()));
    }
    peers.push_back(std::move(request));
  }
  return peers;
}

absl::Status WritePeersFile(const std::string& file, const std::vector<AddPeerRequest>& peers) {
  json::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text = "[";
  for (const AddPeerRequest& request : peers) {
    std::string element;
    if (const auto status = json::MessageToJsonString(request, &element, options); !status.ok()) {
      return absl::InternalError(fmt::format("write {}: {}", file, status.ToString()));
    }
    text += text.size() == 1 ? "\n" : ",\n";
    text += element;
  }
  text += "\n]\n";
  return WriteFileAtomically(file, text, 0600, Overwrite::kYes);
}

}  // namespace omni
