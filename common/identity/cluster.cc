// SPDX-License-Identifier: Apache-2.0
#include "common/identity/cluster.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>

#include "common/encoding.h"
#include "common/identity/signature.h"
#include "common/status.h"

namespace omni {
namespace {

constexpr std::string_view kClusterKeyPrefix = "omnic1";
constexpr std::string_view kSaltLabel = "omninervous cluster secret v1";
constexpr std::string_view kIdLabel = "omninervous cluster id v1";
constexpr std::string_view kPskLabel = "psk";
constexpr std::string_view kBeaconLabel = "omninervous beacon v1";
constexpr std::string_view kKnockLabel = "omninervous knock v1";
constexpr std::string_view kMembershipLabel = "membership";

constexpr size_t kMinSecretBytes = 16;
// LIMIT: room for any passphrase or encoded key; keeps a mistaken file out.
constexpr size_t kMaxSecretBytes = 4096;
// LIMIT: RFC 9106 section 4, second recommended option (64 MiB, 3 passes); libsodium always uses
// one lane.
constexpr size_t kArgonBytes = size_t{64} << 20U;
constexpr uint64_t kArgonPasses = 3;

Key32 KeyFor(std::string_view use, const Key32& root) {
  Key32 key;
  crypto_generichash(key.mutable_data(), key.size(), AsBytes(use).data(), use.size(), root.data(),
                     root.size());
  return key;
}

ClusterId IdOf(const std::array<uint8_t, 32>& key) {
  crypto_generichash_state state;
  std::array<uint8_t, 32> hash{};
  crypto_generichash_init(&state, nullptr, 0, hash.size());
  crypto_generichash_update(&state, AsBytes(kIdLabel).data(), kIdLabel.size());
  crypto_generichash_update(&state, key.data(), key.size());
  crypto_generichash_final(&state, hash.data(), hash.size());
  ClusterId id;
  std::copy_n(hash.begin(), id.bytes.size(), id.bytes.begin());
  return id;
}

}  // namespace

ClusterKey::ClusterKey(const std::array<uint8_t, 32>& bytes) : bytes_(bytes), id_(IdOf(bytes)) {}

absl::StatusOr<ClusterKey> ClusterKey::Parse(std::string_view text) {
  if (!text.starts_with(kClusterKeyPrefix)) {
    return absl::InvalidArgumentError("a cluster key starts with \"omnic1\"");
  }
  const auto raw = Base64Decode(text.substr(kClusterKeyPrefix.size()));
  if (!raw || raw->size() != 32) {
    return absl::InvalidArgumentError(
        "a cluster key holds 32 bytes in base64 (URL alphabet, no padding)");
  }
  std::array<uint8_t, 32> bytes{};
  std::ranges::copy(*raw, bytes.begin());
  if (crypto_core_ed25519_is_valid_point(bytes.data()) != 1) {
    return absl::InvalidArgumentError("the cluster key is no Ed25519 public key");
  }
  return ClusterKey(bytes);
}

std::string ClusterKey::ToString() const {
  return std::string(kClusterKeyPrefix) + Base64Encode(bytes_);
}

bool ClusterKey::Verifies(std::string_view label, std::span<const uint8_t> text,
                          std::span<const uint8_t, 64> signature) const {
  return VerifyLabelled(bytes_, label, text, signature);
}

absl::StatusOr<ClusterKeys> ClusterKeys::Derive(std::string_view cluster_secret) {
  if (sodium_init() < 0) return absl::InternalError("initialise libsodium");
  if (cluster_secret.size() < kMinSecretBytes || cluster_secret.size() > kMaxSecretBytes) {
    return absl::InvalidArgumentError(
        fmt::format("a cluster secret has {} to {} bytes, this one {}", kMinSecretBytes,
                    kMaxSecretBytes, cluster_secret.size()));
  }
  // A fixed salt: every machine of the cluster must derive the same key from the secret alone.
  std::array<uint8_t, crypto_pwhash_SALTBYTES> salt{};
  crypto_generichash(salt.data(), salt.size(), AsBytes(kSaltLabel).data(), kSaltLabel.size(),
                     nullptr, 0);
  Key32 root;
  if (crypto_pwhash(root.mutable_data(), root.size(), cluster_secret.data(), cluster_secret.size(),
                    salt.data(), kArgonPasses, kArgonBytes, crypto_pwhash_ALG_ARGON2ID13) != 0) {
    return absl::ResourceExhaustedError("derive the cluster key: 64 MiB of memory are needed");
  }
  const Key32 seed = KeyFor(kMembershipLabel, root);
  std::array<uint8_t, 32> membership_public{};
  Secret<64> membership_private;
  crypto_sign_seed_keypair(membership_public.data(), membership_private.mutable_data(),
                           seed.data());
  return ClusterKeys{.psk = KeyFor(kPskLabel, root),
                     .membership_private = std::move(membership_private),
                     .key = ClusterKey(membership_public)};
}

std::array<uint8_t, 64> ClusterKeys::Sign(std::string_view label,
                                          std::span<const uint8_t> text) const {
  return SignLabelled(membership_private, label, text);
}

ClusterKeys ClusterKeys::Clone() const {
  return ClusterKeys{
      .psk = psk.Clone(), .membership_private = membership_private.Clone(), .key = key};
}

absl::StatusOr<ClusterKeyring> ClusterKeyring::Make(std::span<const std::string> secrets,
                                                    const ClusterKeyring* former) {
  OMNI_CHECK(!secrets.empty());
  ClusterKeyring made;
  if (former != nullptr && !former->fingerprints_.empty()) {
    made.fingerprint_key_ = former->fingerprint_key_.Clone();
  } else {
    former = nullptr;
    randombytes_buf(made.fingerprint_key_.mutable_data(), made.fingerprint_key_.size());
  }
  for (const std::string& secret : secrets) {
    std::array<uint8_t, 32> fingerprint{};
    crypto_generichash(fingerprint.data(), fingerprint.size(), AsBytes(secret).data(),
                       secret.size(), made.fingerprint_key_.data(), made.fingerprint_key_.size());
    if (std::ranges::find(made.fingerprints_, fingerprint) != made.fingerprints_.end()) {
      return absl::InvalidArgumentError("the accepted secret is the present one");
    }
    made.fingerprints_.push_back(fingerprint);
    for (size_t i = 0; former != nullptr && i < former->held_.size(); ++i) {
      if (former->fingerprints_[i] == fingerprint) made.held_.push_back(former->held_[i].Clone());
    }
    if (made.held_.size() == made.fingerprints_.size()) continue;
    ASSIGN_OR_RETURN(ClusterKeys keys, ClusterKeys::Derive(secret));
    made.held_.push_back(std::move(keys));
  }
  return made;
}

ClusterKeyring ClusterKeyring::Clone() const {
  ClusterKeyring copy;
  for (const ClusterKeys& keys : held_) copy.held_.push_back(keys.Clone());
  copy.fingerprint_key_ = fingerprint_key_.Clone();
  copy.fingerprints_ = fingerprints_;
  return copy;
}

std::vector<ClusterKey> ClusterKeyring::keys() const {
  std::vector<ClusterKey> keys;
  for (const ClusterKeys& one : held_) keys.push_back(one.key);
  return keys;
}

std::vector<ClusterId> ClusterKeyring::ids() const {
  std::vector<ClusterId> ids;
  for (const ClusterKeys& one : held_) ids.push_back(one.key.id());
  return ids;
}

Key32 BeaconKeyOf(const Key32& psk) { return KeyFor(kBeaconLabel, psk); }

KnockKey KnockKeyOf(const Key32& psk, const NodeId& node) {
  crypto_generichash_state state;
  KnockKey key{};
  crypto_generichash_init(&state, psk.data(), psk.size(), key.size());
  crypto_generichash_update(&state, AsBytes(kKnockLabel).data(), kKnockLabel.size());
  crypto_generichash_update(&state, node.bytes.data(), node.bytes.size());
  crypto_generichash_final(&state, key.data(), key.size());
  return key;
}

std::string NewClusterSecret() {
  Key32 bytes;
  randombytes_buf(bytes.mutable_data(), bytes.size());
  return Base64Encode(bytes.bytes());
}

}  // namespace omni
