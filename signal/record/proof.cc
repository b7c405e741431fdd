// SPDX-License-Identifier: Apache-2.0
#include "signal/record/proof.h"

#include <sodium.h>

#include <algorithm>

#include "common/encoding.h"

namespace omni {
namespace {

constexpr std::string_view kNucleusLabel = "omninervous nucleus proof v1";
constexpr std::string_view kMembershipLabel = "omninervous membership proof v1";

std::array<uint8_t, 48> MembershipText(const ExportedKey& exported, const NodeId& node) {
  std::array<uint8_t, 48> text{};
  std::ranges::copy(node.bytes, std::ranges::copy(exported, text.begin()).out);
  return text;
}

std::array<uint8_t, 32> NucleusMac(const ClusterKey& cluster, const ExportedKey& exported) {
  std::array<uint8_t, 32> mac{};
  crypto_generichash_state state;
  crypto_generichash_init(&state, cluster.bytes().data(), cluster.bytes().size(), mac.size());
  crypto_generichash_update(&state, AsBytes(kNucleusLabel).data(), kNucleusLabel.size());
  crypto_generichash_update(&state, exported.data(), exported.size());
  crypto_generichash_final(&state, mac.data(), mac.size());
  return mac;
}

}  // namespace

std::string NucleusProof(const ClusterKey& cluster, const ExportedKey& exported) {
  return AsString(NucleusMac(cluster, exported));
}

bool IsNucleusProof(std::string_view proof, const ClusterKey& cluster,
                    const ExportedKey& exported) {
  const auto expected = NucleusMac(cluster, exported);
  return proof.size() == expected.size() &&
         sodium_memcmp(proof.data(), expected.data(), expected.size()) == 0;
}

std::string MembershipProof(const ClusterKeys& cluster, const ExportedKey& exported,
                            const NodeId& node) {
  return AsString(cluster.Sign(kMembershipLabel, MembershipText(exported, node)));
}

bool IsMembershipProof(std::string_view proof, const ClusterKey& cluster,
                       const ExportedKey& exported, const NodeId& node) {
  const auto bytes = AsBytes(proof);
  return bytes.size() == 64 &&
         cluster.Verifies(kMembershipLabel, MembershipText(exported, node), bytes.first<64>());
}

}  // namespace omni
