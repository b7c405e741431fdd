// SPDX-License-Identifier: Apache-2.0
#include "signal/record/revocation.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>

#include "common/encoding.h"
#include "common/status.h"
#include "signal/record/record.h"

namespace omni {
namespace {

namespace pb = signal::v1;

constexpr std::string_view kLabel = "omninervous revocation v1";

absl::Status Bad(std::string_view field, std::string_view cause) {
  return absl::InvalidArgumentError(fmt::format("revocation: {}: {}", field, cause));
}

}  // namespace

// It is shown on the terminals of others.
std::string CheckReason(std::string_view reason) {
  if (reason.size() > kMaxReasonBytes) {
    return fmt::format("has {} bytes, at most {} are allowed", reason.size(), kMaxReasonBytes);
  }
  uint8_t before = 0;
  for (const uint8_t byte : AsBytes(reason)) {
    // C0, DEL, and C1 as UTF-8 writes it.
    const bool is_c1 = before == 0xc2 && byte >= 0x80 && byte <= 0x9f;
    if (byte < 0x20 || byte == 0x7f || is_c1) return "holds a control character";
    before = byte;
  }
  return "";
}

pb::SignedRevocation Sign(const Revocation& revocation, const ClusterKeys& keys) {
  OMNI_CHECK(revocation.cluster == keys.key.id());
  pb::Revocation content;
  content.set_cluster_id(revocation.cluster.ToBytes());
  content.set_node_id(revocation.node.ToBytes());
  content.set_time(revocation.time);
  content.set_name(revocation.name);
  content.set_reason(revocation.reason);
  pb::SignedRevocation out;
  out.set_revocation(content.SerializeAsString());
  out.set_signature(AsString(keys.Sign(kLabel, AsBytes(out.revocation()))));
  return out;
}

absl::StatusOr<Revocation> Verify(const pb::SignedRevocation& message,
                                  std::span<const ClusterKey> keys) {
  if (message.revocation().size() > kMaxRevocationBytes) {
    return Bad("size", fmt::format("{} bytes, at most {} are allowed", message.revocation().size(),
                                   kMaxRevocationBytes));
  }
  pb::Revocation content;
  if (!content.ParseFromString(message.revocation())) return Bad("content", "is no revocation");
  const auto key = std::ranges::find_if(
      keys, [&](const ClusterKey& k) { return k.id().ToBytes() == content.cluster_id(); });
  if (key == keys.end()) return Bad("cluster_id", "is another cluster's");
  const auto signature = AsBytes(message.signature());
  if (signature.size() != 64 ||
      !key->Verifies(kLabel, AsBytes(message.revocation()), signature.first<64>())) {
    return Bad("signature", "was not made with the cluster secret");
  }
  const auto node = NodeId::FromBytes(content.node_id());
  if (!node) return Bad("node_id", "is no node id");
  if (content.time() < 0) return Bad("time", "is negative");
  if (!content.name().empty() && !IsNodeName(content.name())) {
    return Bad("name", "is not 1-63 characters of a-z, 0-9 and -");
  }
  if (const std::string cause = CheckReason(content.reason()); !cause.empty()) {
    return Bad("reason", cause);
  }
  return Revocation{.cluster = key->id(),
                    .node = *node,
                    .time = content.time(),
                    .name = content.name(),
                    .reason = content.reason()};
}

RevocationList::Outcome RevocationList::Take(const pb::SignedRevocation& message) {
  // Everybody tells it to everybody: what was checked once, to the last byte, is not checked again.
  pb::Revocation content;
  if (message.revocation().size() <= kMaxRevocationBytes &&
      content.ParseFromString(message.revocation())) {
    const auto node = NodeId::FromBytes(content.node_id());
    const auto cluster = NodeId::FromBytes(content.cluster_id());
    const auto known =
        node && cluster ? entries_.find({*node, ClusterId{*cluster}}) : entries_.end();
    if (known != entries_.end() && known->second.message.revocation() == message.revocation() &&
        known->second.message.signature() == message.signature()) {
      return {.verdict = Verdict::kKnown, .detail = "", .entry = &known->second};
    }
  }
  auto revocation = Verify(message, keys_);
  if (!revocation.ok()) {
    ++refused_;
    return {.verdict = Verdict::kRefused, .detail = std::string(Message(revocation.status()))};
  }
  const Key key{revocation->node, revocation->cluster};
  if (const auto known = entries_.find(key); known != entries_.end()) {
    return {.verdict = Verdict::kKnown, .detail = "", .entry = &known->second};
  }
  if (entries_.size() >= kMaxRevocations) {
    ++refused_;
    return {.verdict = Verdict::kFull,
            .detail = fmt::format("{} nodes are revoked already: give the cluster another secret",
                                  entries_.size())};
  }
  Entry entry{.revocation = *std::move(revocation), .message = message};
  const auto added = entries_.emplace(key, std::move(entry)).first;
  return {.verdict = Verdict::kNew, .detail = "", .entry = &added->second};
}

void RevocationList::SetKeys(std::vector<ClusterKey> keys) {
  keys_ = std::move(keys);
  std::erase_if(entries_, [&](const auto& entry) {
    return std::ranges::none_of(
        keys_, [&](const ClusterKey& key) { return key.id() == entry.second.revocation.cluster; });
  });
}

std::array<uint8_t, 16> RevocationList::DigestOf(const ClusterId& cluster) const {
  std::array<uint8_t, 16> digest{};
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, digest.size());
  for (const auto& [key, entry] : entries_) {
    if (key.second != cluster) continue;
    const std::string id = key.first.ToBytes();
    crypto_generichash_update(&state, AsBytes(id).data(), id.size());
  }
  crypto_generichash_final(&state, digest.data(), digest.size());
  return digest;
}

const RevocationList::Entry* RevocationList::Find(const NodeId& node) const {
  const auto found = entries_.lower_bound({node, ClusterId()});
  return found == entries_.end() || found->first.first != node ? nullptr : &found->second;
}

}  // namespace omni
