// SPDX-License-Identifier: Apache-2.0
// Who a machine is. Two key files in one directory: identity.key (Ed25519) names the machine for
// good, static.key (X25519, signed by the identity) is what handshakes use. Both 0600, written
// atomically; a file that is unreadable, truncated, open to others or that does not match the other
// one is an error that says what to do, never a reason to make a new identity.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/node_id.h"
#include "common/secret.h"

namespace omni {

// The public half, which other machines put into their configuration: identity key, static key and
// the identity's signature over the static key. Exists only when that signature is right.
class PeerKey {
 public:
  // "omni1" and base64 of (identity key, static key, signature). INVALID_ARGUMENT says what is
  // wrong.
  static absl::StatusOr<PeerKey> Parse(std::string_view text);
  std::string ToString() const;
  // The 128 bytes themselves: identity key, static key, signature.
  static absl::StatusOr<PeerKey> FromBytes(std::span<const uint8_t, 128> raw);
  std::array<uint8_t, 128> ToBytes() const;

  const NodeId& node_id() const { return node_id_; }
  const std::array<uint8_t, 32>& identity_public() const { return identity_public_; }
  const std::array<uint8_t, 32>& static_public() const { return static_public_; }

  friend bool operator==(const PeerKey&, const PeerKey&) = default;

 private:
  friend class Identity;
  PeerKey() = default;
  // Checks the signature and that both keys are sound.
  static absl::StatusOr<PeerKey> FromParts(const std::array<uint8_t, 32>& identity_public,
                                           const std::array<uint8_t, 32>& static_public,
                                           const std::array<uint8_t, 64>& signature);
  NodeId node_id_;
  std::array<uint8_t, 32> identity_public_{};
  std::array<uint8_t, 32> static_public_{};
  std::array<uint8_t, 64> signature_{};
};

class Identity {
 public:
  static absl::StatusOr<Identity> Load(const std::string& directory);
  // Makes a new identity. ALREADY_EXISTS when the directory holds either file.
  static absl::StatusOr<Identity> Create(const std::string& directory);

  const PeerKey& public_key() const { return public_key_; }
  const NodeId& node_id() const { return public_key_.node_id(); }
  const Key32& static_private() const { return static_private_; }
  // The private half of the identity key (RFC 8032's seed), for the TLS certificate.
  std::span<const uint8_t, 32> identity_seed() const {
    return identity_private_.bytes().first<32>();
  }
  // By the identity key, over `label` and `text`.
  std::array<uint8_t, 64> Sign(std::string_view label, std::span<const uint8_t> text) const;

 private:
  Identity() = default;
  PeerKey public_key_;
  Secret<64> identity_private_;
  Key32 static_private_;
};

}  // namespace omni
