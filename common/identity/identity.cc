// SPDX-License-Identifier: Apache-2.0
#include "common/identity/identity.h"

#include <fmt/format.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "common/encoding.h"
#include "common/file.h"
#include "common/identity/key_file.h"
#include "common/identity/signature.h"
#include "common/status.h"

namespace omni {
namespace {

constexpr std::string_view kPeerKeyPrefix = "omni1";
constexpr std::string_view kSignatureLabel = "omninervous static key v1";

struct Paths {
  explicit Paths(const std::string& directory)
      : identity(directory + "/identity.key"), static_key(directory + "/static.key") {}
  std::string identity;
  std::string static_key;
};

// X25519 with a point of low order gives zero whatever the scalar is (RFC 7748 section 6.1).
bool IsLowOrder(const std::array<uint8_t, 32>& point) {
  const std::array<uint8_t, 32> scalar = {1};
  std::array<uint8_t, 32> product{};
  return crypto_scalarmult(product.data(), scalar.data(), point.data()) != 0;
}

// Errors about a key file end alike: what is to be done.
absl::Status Unusable(const std::string& path, std::string_view cause) {
  return absl::DataLossError(
      fmt::format("key file {}: {}; restore it from a backup or, to become a new machine, move it "
                  "away and run: omnictl identity new",
                  path, cause));
}

absl::StatusOr<std::string> ReadKeyFile(const std::string& path) {
  auto text = ReadFile(path, kMaxKeyFileBytes, FileAccess::kOwnerOnly);
  if (text.ok()) return text;
  switch (text.status().code()) {
    case absl::StatusCode::kPermissionDenied: {
      struct stat st {};
      // Open to others: the message says chmod. Not ours to read: say whose it is.
      if (stat(path.c_str(), &st) == 0 && (st.st_mode & 077) != 0) return text.status();
      return absl::PermissionDeniedError(
          fmt::format("{}; run this as root or as the user who owns the file, or give it to the "
                      "user of the controller: chown omni {}",
                      Message(text.status()), path));
    }
    case absl::StatusCode::kNotFound:
      return Unusable(path, "missing, while its companion is there");
    default:
      return Unusable(path, Message(text.status()));
  }
}

// Whether the file is there at all; a dangling link counts as there.
absl::StatusOr<bool> Exists(const std::string& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) == 0) return true;
  if (errno == ENOENT) return false;
  return ErrnoStatus("look for key file " + path);
}

absl::Status MakeDirectory(const std::string& directory) {
  std::error_code error;
  const std::filesystem::path parent =
      std::filesystem::absolute(directory, error).lexically_normal().parent_path();
  if (!error) std::filesystem::create_directories(parent, error);
  if (error) {
    return ErrnoStatus(fmt::format("create directory {}", parent.string()), error.value());
  }
  if (mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus("create directory " + directory);
  }
  return absl::OkStatus();
}

// Writing can fail after the file got its name (fsync of the directory). Only what is our own is
// removed.
absl::Status WriteNewKeyFile(const std::string& path, const std::string& text) {
  absl::Status status = WriteFileAtomically(path, text, 0600, Overwrite::kNo);
  if (status.ok() || status.code() == absl::StatusCode::kAlreadyExists) return status;
  if (const auto there = ReadFile(path, kMaxKeyFileBytes, FileAccess::kOwnerOnly);
      there.ok() && *there == text) {
    unlink(path.c_str());
  }
  return status;
}

}  // namespace

absl::StatusOr<PeerKey> PeerKey::FromParts(const std::array<uint8_t, 32>& identity_public,
                                           const std::array<uint8_t, 32>& static_public,
                                           const std::array<uint8_t, 64>& signature) {
  if (!VerifyLabelled(identity_public, kSignatureLabel, static_public, signature)) {
    return absl::InvalidArgumentError("the static key is not signed by the identity key");
  }
  if (IsLowOrder(static_public)) {
    return absl::InvalidArgumentError("the static key is a point of low order");
  }
  PeerKey key;
  key.node_id_ = NodeId::FromIdentityKey(identity_public);
  key.identity_public_ = identity_public;
  key.static_public_ = static_public;
  key.signature_ = signature;
  return key;
}

absl::StatusOr<PeerKey> PeerKey::Parse(std::string_view text) {
  if (!text.starts_with(kPeerKeyPrefix)) {
    return absl::InvalidArgumentError("a peer key starts with \"omni1\"");
  }
  constexpr size_t kRawBytes = 32 + 32 + 64;
  constexpr size_t kTextBytes = 5 + (kRawBytes * 8 + 5) / 6;
  if (text.size() != kTextBytes) {
    return absl::InvalidArgumentError(
        fmt::format("a peer key has {} characters, this one {}", kTextBytes, text.size()));
  }
  const auto raw = Base64Decode(text.substr(kPeerKeyPrefix.size()));
  if (!raw || raw->size() != kRawBytes) {
    return absl::InvalidArgumentError("a character of the peer key is not base64 (URL alphabet)");
  }
  return FromBytes(std::span<const uint8_t, kRawBytes>(raw->data(), kRawBytes));
}

absl::StatusOr<PeerKey> PeerKey::FromBytes(std::span<const uint8_t, 128> raw) {
  std::array<uint8_t, 32> identity_public{};
  std::array<uint8_t, 32> static_public{};
  std::array<uint8_t, 64> signature{};
  std::ranges::copy(raw.first<32>(), identity_public.begin());
  std::ranges::copy(raw.subspan<32, 32>(), static_public.begin());
  std::ranges::copy(raw.last<64>(), signature.begin());
  return FromParts(identity_public, static_public, signature);
}

std::array<uint8_t, 128> PeerKey::ToBytes() const {
  std::array<uint8_t, 128> raw{};
  auto out = std::ranges::copy(identity_public_, raw.begin()).out;
  out = std::ranges::copy(static_public_, out).out;
  std::ranges::copy(signature_, out);
  return raw;
}

std::string PeerKey::ToString() const {
  return std::string(kPeerKeyPrefix) + Base64Encode(ToBytes());
}

absl::StatusOr<Identity> Identity::Load(const std::string& directory) {
  if (sodium_init() < 0) return absl::InternalError("initialise libsodium");
  const Paths paths(directory);
  ASSIGN_OR_RETURN(const bool has_identity, Exists(paths.identity));
  ASSIGN_OR_RETURN(const bool has_static, Exists(paths.static_key));
  if (!has_identity && !has_static) {
    return absl::NotFoundError(fmt::format(
        "no identity in {}; make one: omnictl identity new --dir {}", directory, directory));
  }
  ASSIGN_OR_RETURN(std::string identity_text, ReadKeyFile(paths.identity));
  const absl::Cleanup erase_identity = [&identity_text] { EraseText(identity_text); };
  auto identity_file = ParseIdentityKeyFile(identity_text);
  if (!identity_file.ok()) return Unusable(paths.identity, Message(identity_file.status()));

  Identity identity;
  std::array<uint8_t, 32> derived{};
  crypto_sign_seed_keypair(derived.data(), identity.identity_private_.mutable_data(),
                           identity_file->seed.data());
  if (derived != identity_file->public_key) {
    return Unusable(paths.identity, "the public key does not belong to the private key");
  }

  ASSIGN_OR_RETURN(std::string static_text, ReadKeyFile(paths.static_key));
  const absl::Cleanup erase_static = [&static_text] { EraseText(static_text); };
  auto static_file = ParseStaticKeyFile(static_text);
  if (!static_file.ok()) return Unusable(paths.static_key, Message(static_file.status()));
  crypto_scalarmult_base(derived.data(), static_file->private_key.data());
  if (derived != static_file->public_key) {
    return Unusable(paths.static_key, "the public key does not belong to the private key");
  }
  auto public_key = PeerKey::FromParts(identity_file->public_key, static_file->public_key,
                                       static_file->signature);
  if (!public_key.ok()) {
    return Unusable(paths.static_key, fmt::format("it does not belong to {}: {}", paths.identity,
                                                  Message(public_key.status())));
  }
  identity.public_key_ = *std::move(public_key);
  identity.static_private_ = std::move(static_file->private_key);
  return identity;
}

absl::StatusOr<Identity> Identity::Create(const std::string& directory) {
  if (sodium_init() < 0) return absl::InternalError("initialise libsodium");
  const Paths paths(directory);
  for (const std::string& path : {paths.identity, paths.static_key}) {
    ASSIGN_OR_RETURN(const bool exists, Exists(path));
    if (exists) {
      return absl::AlreadyExistsError(
          fmt::format("create identity: {} exists and is left alone; to become a new machine, move "
                      "both key files away first",
                      path));
    }
  }
  Identity identity;
  IdentityKeyFile identity_file;
  randombytes_buf(identity_file.seed.mutable_data(), identity_file.seed.size());
  crypto_sign_seed_keypair(identity_file.public_key.data(),
                           identity.identity_private_.mutable_data(), identity_file.seed.data());
  StaticKeyFile static_file;
  randombytes_buf(static_file.private_key.mutable_data(), static_file.private_key.size());
  crypto_scalarmult_base(static_file.public_key.data(), static_file.private_key.data());
  static_file.signature =
      SignLabelled(identity.identity_private_, kSignatureLabel, static_file.public_key);
  ASSIGN_OR_RETURN(
      identity.public_key_,
      PeerKey::FromParts(identity_file.public_key, static_file.public_key, static_file.signature));

  RETURN_IF_ERROR(MakeDirectory(directory));
  std::string identity_text = Format(identity_file);
  std::string static_text = Format(static_file);
  const absl::Cleanup erase = [&] {
    EraseText(identity_text);
    EraseText(static_text);
  };
  RETURN_IF_ERROR(WriteNewKeyFile(paths.identity, identity_text));
  if (absl::Status status = WriteNewKeyFile(paths.static_key, static_text); !status.ok()) {
    unlink(paths.identity.c_str());  // half an identity would only be in the way
    return status;
  }
  identity.static_private_ = std::move(static_file.private_key);
  return identity;
}

std::array<uint8_t, 64> Identity::Sign(std::string_view label,
                                       std::span<const uint8_t> text) const {
  return SignLabelled(identity_private_, label, text);
}

}  // namespace omni
