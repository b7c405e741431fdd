// SPDX-License-Identifier: Apache-2.0
// Beacons of strangers, as they are; and of members, whose content may be anything, signed or not.
#include <sodium.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <vector>

#include "common/status.h"
#include "common/wire.h"
#include "signal/beacon/beacon.h"

namespace omni {
namespace {

constexpr size_t kNonceAt = offsetof(wire::Beacon, nonce);
constexpr size_t kContentAt = offsetof(wire::Beacon, encrypted_content);

const Identity& SomeIdentity() {
  static const Identity identity = [] {
    const std::string path =
        std::filesystem::temp_directory_path() / ("omni-fuzz-" + std::to_string(getpid()));
    Identity made = *Identity::Create(path);
    std::filesystem::remove_all(path);
    return made;
  }();
  return identity;
}

void Feed(std::span<const uint8_t> input) {
  static const Key32 key(std::array<uint8_t, 32>{1, 2, 3});
  (void)OpenBeacon(input, key);
  (void)wire::BeaconIsAuthentic(input, key.bytes());
  if (input.size() < kContentAt + sizeof(wire::BeaconContent)) return;
  wire::BeaconContent content;
  std::memcpy(&content, input.data() + kContentAt, sizeof(content));
  if (input[1] == 0) {
    content.identity = SomeIdentity().public_key().identity_public();
    // SAFETY: of alignment 1 and without padding.
    content.signature = SomeIdentity().Sign(
        "omninervous beacon v1",
        {reinterpret_cast<const uint8_t*>(&content), offsetof(wire::BeaconContent, signature)});
  }
  std::vector<uint8_t> sealed(sizeof(wire::Beacon));
  std::copy_n(input.begin(), kContentAt, sealed.begin());
  crypto_aead_xchacha20poly1305_ietf_encrypt(
      // SAFETY: likewise.
      sealed.data() + kContentAt, nullptr, reinterpret_cast<const uint8_t*>(&content),
      sizeof(content), sealed.data(), kNonceAt, nullptr, sealed.data() + kNonceAt, key.data());
  OMNI_CHECK(wire::BeaconIsAuthentic(sealed, key.bytes()));
  const auto beacon = OpenBeacon(sealed, key);
  if (!beacon) return;
  // What was taken can be said again by its node, and means the same.
  OMNI_CHECK(beacon->id == SomeIdentity().node_id());
  OMNI_CHECK(OpenBeacon(SealBeacon(*beacon, SomeIdentity(), key), key) == beacon);
}

}  // namespace
}  // namespace omni

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  omni::Feed({data, size});
  return 0;
}
