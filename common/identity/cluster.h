// SPDX-License-Identifier: Apache-2.0
// What derives from the cluster secret: the PSK that handshakes mix in, and the membership key pair
// (Ed25519) by which a node shows a Nucleus that it belongs to the cluster. The Nucleus is given
// the public half, the cluster key: it can tell members from strangers, and can neither join nor
// read anything. Plain values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/knock.h"
#include "common/node_id.h"
#include "common/secret.h"

namespace omni {

// Names a cluster without revealing its key: a hash of the cluster key.
struct ClusterId : NodeId {
  friend auto operator<=>(const ClusterId&, const ClusterId&) = default;
};

// The public half of the membership key pair. Nodes and their Nucleus know it and nobody else need:
// by it a Nucleus shows nodes that it is theirs.
class ClusterKey {
 public:
  // "omnic1" and base64 of the 32 bytes. INVALID_ARGUMENT says what is wrong.
  static absl::StatusOr<ClusterKey> Parse(std::string_view text);
  std::string ToString() const;

  const std::array<uint8_t, 32>& bytes() const { return bytes_; }
  const ClusterId& id() const { return id_; }
  // Whether `signature` is the membership key's over `label` and `text`.
  bool Verifies(std::string_view label, std::span<const uint8_t> text,
                std::span<const uint8_t, 64> signature) const;

  friend bool operator==(const ClusterKey&, const ClusterKey&) = default;

 private:
  friend struct ClusterKeys;
  explicit ClusterKey(const std::array<uint8_t, 32>& bytes);
  std::array<uint8_t, 32> bytes_{};
  ClusterId id_;
};

struct ClusterKeys {
  Key32 psk;
  Secret<64> membership_private;
  ClusterKey key;

  // Argon2id (RFC 9106; 3 passes, 64 MiB), then a BLAKE2b key of its own for each use.
  // INVALID_ARGUMENT when the secret has fewer than 16 or more than 4096 bytes. Takes about a tenth
  // of a second and 64 MiB.
  static absl::StatusOr<ClusterKeys> Derive(std::string_view cluster_secret);
  // By the membership key, over `label` and `text`.
  std::array<uint8_t, 64> Sign(std::string_view label, std::span<const uint8_t> text) const;
  ClusterKeys Clone() const;
};

// What a node holds: the keys of its present secret, and those of one more while its cluster goes
// from one secret to the next.
class ClusterKeyring {
 public:
  explicit ClusterKeyring(ClusterKeys present) { held_.push_back(std::move(present)); }
  // The present secret first; one or two. Deriving takes as long as ClusterKeys::Derive(), but for
  // secrets that `former` has. INVALID_ARGUMENT: one is too short or long, or both are the same.
  static absl::StatusOr<ClusterKeyring> Make(std::span<const std::string> secrets,
                                             const ClusterKeyring* former = nullptr);
  ClusterKeyring Clone() const;

  const ClusterKeys& present() const { return held_.front(); }
  const std::vector<ClusterKeys>& held() const { return held_; }  // the present ones first
  std::vector<ClusterKey> keys() const;
  std::vector<ClusterId> ids() const;
  friend bool operator==(const ClusterKeyring& a, const ClusterKeyring& b) {
    return a.ids() == b.ids();
  }

 private:
  ClusterKeyring() = default;
  std::vector<ClusterKeys> held_;
  // By which a secret is recognised without its being kept: a hash under a random key.
  Key32 fingerprint_key_;
  std::vector<std::array<uint8_t, 32>> fingerprints_;  // one each, when made from secrets
};

// Keys that each member can make of the PSK, and nobody else (docs/SIGNALING.md section 11): of
// beacons, and of knocks at one node.
Key32 BeaconKeyOf(const Key32& psk);
KnockKey KnockKeyOf(const Key32& psk, const NodeId& node);

// 32 random bytes as base64: a secret that cannot be guessed.
std::string NewClusterSecret();

}  // namespace omni
