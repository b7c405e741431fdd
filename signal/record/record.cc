// SPDX-License-Identifier: Apache-2.0
#include "signal/record/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>

#include "common/encoding.h"
#include "common/identity/signature.h"
#include "common/status.h"

namespace omni {
namespace {

namespace pb = signal::v1;

constexpr std::string_view kRecordLabel = "omninervous node record v1";
constexpr size_t kKeyBytes = 128;

absl::Status Bad(std::string_view field, std::string_view cause) {
  return absl::InvalidArgumentError(fmt::format("record: {}: {}", field, cause));
}

absl::Status CheckCount(std::string_view field, int count, size_t most) {
  if (static_cast<size_t>(count) <= most) return absl::OkStatus();
  return Bad(field, fmt::format("{} entries, at most {} are allowed", count, most));
}

bool IsWord(std::string_view word, size_t most) {
  return !word.empty() && word.size() <= most && std::ranges::all_of(word, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

bool IsMapped(const IpAddress& address) {
  constexpr std::array<uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return !address.is_v4() && std::ranges::equal(std::span(address.bytes).first(12), kMapped);
}

std::optional<IpAddress> ReadAddress(std::string_view bytes) {
  const auto address = IpAddress::FromBytes(AsBytes(bytes));
  return address && address->raw().size() == bytes.size() && !IsMapped(*address) ? address
                                                                                 : std::nullopt;
}

bool IsMulticast(const IpAddress& address) {
  return address.is_v4() ? (address.bytes[0] & 0xf0) == 0xe0 : address.bytes[0] == 0xff;
}

absl::Status ReadAddresses(const pb::NodeRecord& message, NodeRecord& record) {
  RETURN_IF_ERROR(CheckCount("addresses", message.addresses_size(), kMaxRecordAddresses));
  for (const std::string& bytes : message.addresses()) {
    const auto address = ReadAddress(bytes);
    if (!address || IsMulticast(*address) || *address == MaskTo(*address, 0)) {
      return Bad("addresses", "an entry is no address of a single machine");
    }
    if (std::ranges::find(record.addresses, *address) != record.addresses.end()) {
      return Bad("addresses", address->ToString() + " is listed twice");
    }
    record.addresses.push_back(*address);
  }
  return absl::OkStatus();
}

absl::Status ReadRoutes(const pb::NodeRecord& message, NodeRecord& record) {
  RETURN_IF_ERROR(CheckCount("routes", message.routes_size(), kMaxRecordRoutes));
  for (const pb::Prefix& route : message.routes()) {
    const auto address = ReadAddress(route.address());
    if (!address || route.length() > static_cast<uint32_t>(address->bits()) ||
        MaskTo(*address, static_cast<int>(route.length())) != *address) {
      return Bad("routes", "an entry is no prefix");
    }
    const IpPrefix prefix{*address, static_cast<uint8_t>(route.length())};
    if (std::ranges::find(record.routes, prefix) != record.routes.end()) {
      return Bad("routes", prefix.ToString() + " is listed twice");
    }
    record.routes.push_back(prefix);
  }
  return absl::OkStatus();
}

absl::Status ReadCandidates(const pb::NodeRecord& message, NodeRecord& record) {
  RETURN_IF_ERROR(CheckCount("candidates", message.candidates_size(), kMaxRecordCandidates));
  for (const pb::Candidate& candidate : message.candidates()) {
    const auto address = ReadAddress(candidate.address());
    if (!address || !IsCandidateAddress(*address) || candidate.port() < 1 ||
        candidate.port() > 65535) {
      return Bad("candidates", "an entry is no address and port of a single machine");
    }
    // Kinds to come are addresses like any other.
    record.candidates.push_back(
        {.kind = candidate.kind() == pb::Candidate::KIND_HOST ? CandidateKind::kHost
                                                              : CandidateKind::kServerReflexive,
         .endpoint = {.address = *address, .port = static_cast<uint16_t>(candidate.port())}});
  }
  return absl::OkStatus();
}

absl::Status ReadCapabilities(const pb::NodeRecord& message, NodeRecord& record) {
  RETURN_IF_ERROR(CheckCount("capabilities", message.capabilities_size(), kMaxRecordCapabilities));
  for (const std::string& capability : message.capabilities()) {
    if (!IsWord(capability, 32)) return Bad("capabilities", "an entry is no word");
    record.capabilities.push_back(capability);
  }
  return absl::OkStatus();
}

// Of what is one of ours at least.
absl::Status ReadClusters(const pb::NodeRecord& message, std::span<const ClusterId> ours,
                          NodeRecord& record) {
  RETURN_IF_ERROR(
      CheckCount("accepted_cluster_ids", message.accepted_cluster_ids_size(), kMaxRecordAccepted));
  const auto present = NodeId::FromBytes(message.cluster_id());
  if (!present) return Bad("cluster_id", "is no cluster id");
  record.cluster = ClusterId{*present};
  for (const std::string& bytes : message.accepted_cluster_ids()) {
    const auto id = NodeId::FromBytes(bytes);
    if (!id) return Bad("accepted_cluster_ids", "an entry is no cluster id");
    record.accepted.push_back(ClusterId{*id});
  }
  if (std::ranges::any_of(ours, [&](const ClusterId& id) { return record.Holds(id); })) {
    return absl::OkStatus();
  }
  return Bad("cluster_id", "is another cluster's");
}

pb::NodeRecord ToProto(const NodeRecord& record) {
  pb::NodeRecord message;
  message.set_cluster_id(record.cluster.ToBytes());
  for (const ClusterId& id : record.accepted) message.add_accepted_cluster_ids(id.ToBytes());
  message.set_key(AsString(record.key.ToBytes()));
  message.set_sequence(record.sequence);
  message.set_name(record.name);
  for (const IpAddress& address : record.addresses) message.add_addresses(AsString(address.raw()));
  for (const IpPrefix& route : record.routes) {
    pb::Prefix& out = *message.add_routes();
    out.set_address(AsString(route.address.raw()));
    out.set_length(route.length);
  }
  for (const Candidate& candidate : record.candidates) {
    pb::Candidate& out = *message.add_candidates();
    out.set_kind(candidate.kind == CandidateKind::kHost ? pb::Candidate::KIND_HOST
                                                        : pb::Candidate::KIND_SERVER_REFLEXIVE);
    out.set_address(AsString(candidate.endpoint.address.raw()));
    out.set_port(candidate.endpoint.port);
  }
  for (const std::string& capability : record.capabilities) message.add_capabilities(capability);
  return message;
}

}  // namespace

bool IsNodeName(std::string_view name) { return IsWord(name, 63); }

bool IsCandidateAddress(const IpAddress& address) {
  if (IsMulticast(address) || IsMapped(address)) return false;
  if (address.is_v4()) {
    const uint8_t first = address.bytes[0];
    const bool link_local = first == 169 && address.bytes[1] == 254;
    return first != 0 && first != 127 && first < 240 && !link_local;
  }
  const bool loopback_or_none =
      std::ranges::all_of(std::span(address.bytes).first(15), [](uint8_t b) { return b == 0; }) &&
      address.bytes[15] <= 1;
  const bool link_local = address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
  return !loopback_or_none && !link_local;
}

pb::SignedRecord Sign(const NodeRecord& record, const Identity& identity) {
  OMNI_CHECK(record.key == identity.public_key());
  pb::SignedRecord out;
  out.set_record(ToProto(record).SerializeAsString());
  out.set_signature(AsString(identity.Sign(kRecordLabel, AsBytes(out.record()))));
  return out;
}

absl::StatusOr<NodeRecord> Verify(const pb::SignedRecord& message,
                                  std::span<const ClusterId> clusters) {
  if (message.record().size() > kMaxRecordBytes) {
    return Bad("size", fmt::format("{} bytes, at most {} are allowed", message.record().size(),
                                   kMaxRecordBytes));
  }
  pb::NodeRecord content;
  if (!content.ParseFromString(message.record())) return Bad("content", "is no record");
  const auto raw_key = AsBytes(content.key());
  const auto signature = AsBytes(message.signature());
  if (raw_key.size() != kKeyBytes || signature.size() != 64) {
    return Bad("key", "or signature has another length than it must have");
  }
  if (!VerifyLabelled(raw_key.first<32>(), kRecordLabel, AsBytes(message.record()),
                      signature.first<64>())) {
    return Bad("signature", "is not its node's");
  }
  auto key = PeerKey::FromBytes(raw_key.first<kKeyBytes>());
  if (!key.ok()) return Bad("key", Message(key.status()));
  NodeRecord record{.cluster = {},
                    .key = *key,
                    .sequence = content.sequence(),
                    .name = content.name(),
                    .addresses = {},
                    .routes = {},
                    .candidates = {},
                    .capabilities = {}};
  RETURN_IF_ERROR(ReadClusters(content, clusters, record));
  if (record.sequence == 0) return Bad("sequence", "is zero");
  if (!IsNodeName(record.name)) return Bad("name", "is not 1-63 characters of a-z, 0-9 and -");
  RETURN_IF_ERROR(ReadAddresses(content, record));
  RETURN_IF_ERROR(ReadRoutes(content, record));
  RETURN_IF_ERROR(ReadCandidates(content, record));
  RETURN_IF_ERROR(ReadCapabilities(content, record));
  return record;
}

}  // namespace omni
