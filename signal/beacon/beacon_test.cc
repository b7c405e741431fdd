// SPDX-License-Identifier: Apache-2.0
#include "signal/beacon/beacon.h"

#include <gtest/gtest.h>
#include <sodium.h>
#include <unistd.h>

#include <filesystem>
#include <set>

#include "common/identity/cluster.h"
#include "common/wire.h"

namespace omni {
namespace {

Key32 KeyOf(uint8_t fill) {
  std::array<uint8_t, 32> bytes{};
  bytes.fill(fill);
  return Key32(bytes);
}

const Identity& SomeIdentity() {
  static const Identity identity = [] {
    const std::string path =
        std::filesystem::temp_directory_path() / ("omni-beacon-" + std::to_string(getpid()));
    Identity made = *Identity::Create(path);
    std::filesystem::remove_all(path);
    return made;
  }();
  return identity;
}

Beacon SomeBeacon(const char* from) {
  return {
      .id = SomeIdentity().node_id(), .from = *Endpoint::Parse(from), .sequence = 7, .stamp = 9};
}

std::vector<uint8_t> Seal(const Beacon& beacon, const Key32& key) {
  return SealBeacon(beacon, SomeIdentity(), key);
}

TEST(Beacon, SaysTheSameToWhoHasTheKey) {
  const Key32 key = KeyOf(1);
  for (const char* from : {"192.0.2.7:51900", "[fe80::1]:1", "[2001:db8::7]:65535"}) {
    const Beacon beacon = SomeBeacon(from);
    const auto sealed = Seal(beacon, key);
    EXPECT_EQ(sealed.size(), 180U);
    EXPECT_EQ(OpenBeacon(sealed, key), beacon);
    EXPECT_TRUE(wire::BeaconIsAuthentic(sealed, key.bytes()));
  }
}

TEST(Beacon, IsNoiseToWhoHasAnotherKey) {
  const auto sealed = Seal(SomeBeacon("192.0.2.7:51900"), KeyOf(1));
  EXPECT_FALSE(OpenBeacon(sealed, KeyOf(2)));
  EXPECT_FALSE(wire::BeaconIsAuthentic(sealed, KeyOf(2).bytes()));
  // Nothing in it comes back: neither who it is of, nor that two are of one node.
  const auto again = Seal(SomeBeacon("192.0.2.7:51900"), KeyOf(1));
  size_t equal = 0;
  for (size_t i = 4; i < sealed.size(); ++i) equal += sealed[i] == again[i] ? 1 : 0;
  EXPECT_LT(equal, 15U);
}

TEST(Beacon, EachBitCounts) {
  const Key32 key = KeyOf(1);
  auto sealed = Seal(SomeBeacon("192.0.2.7:51900"), key);
  for (size_t at = 0; at < sealed.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      sealed[at] ^= static_cast<uint8_t>(1U << bit);
      EXPECT_FALSE(OpenBeacon(sealed, key)) << at << "." << bit;
      EXPECT_FALSE(wire::BeaconIsAuthentic(sealed, key.bytes())) << at << "." << bit;
      sealed[at] ^= static_cast<uint8_t>(1U << bit);
    }
  }
}

TEST(Beacon, HasOneSize) {
  const Key32 key = KeyOf(1);
  auto sealed = Seal(SomeBeacon("192.0.2.7:51900"), key);
  sealed.push_back(0);
  EXPECT_FALSE(OpenBeacon(sealed, key));
  EXPECT_FALSE(wire::BeaconIsAuthentic(sealed, key.bytes()));
  for (sealed.pop_back(); !sealed.empty();) {
    sealed.pop_back();
    EXPECT_FALSE(OpenBeacon(sealed, key));
    EXPECT_FALSE(wire::BeaconIsAuthentic(sealed, key.bytes()));
  }
}

TEST(Beacon, AMemberMayNotSayWhatIsNoBeacon) {
  const Key32 key = KeyOf(1);
  Beacon beacon = SomeBeacon("192.0.2.7:51900");
  beacon.from.port = 0;
  EXPECT_FALSE(OpenBeacon(Seal(beacon, key), key));
  beacon = SomeBeacon("192.0.2.7:51900");
  beacon.stamp = 0;
  EXPECT_FALSE(OpenBeacon(Seal(beacon, key), key));
}

TEST(Beacon, NoMemberCanSpeakForAnother) {
  const Key32 key = KeyOf(1);
  constexpr size_t kContentAt = offsetof(wire::Beacon, encrypted_content);
  constexpr size_t kNonceAt = offsetof(wire::Beacon, nonce);
  auto sealed = Seal(SomeBeacon("192.0.2.7:51900"), key);
  std::array<uint8_t, sizeof(wire::BeaconContent)> content{};
  ASSERT_EQ(crypto_aead_xchacha20poly1305_ietf_decrypt(
                content.data(), nullptr, nullptr, sealed.data() + kContentAt,
                content.size() + wire::kTagBytes, sealed.data(), kNonceAt, sealed.data() + kNonceAt,
                key.data()),
            0);
  content[offsetof(wire::BeaconContent, stamp)] ^= 0x80;
  crypto_aead_xchacha20poly1305_ietf_encrypt(sealed.data() + kContentAt, nullptr, content.data(),
                                             content.size(), sealed.data(), kNonceAt, nullptr,
                                             sealed.data() + kNonceAt, key.data());
  EXPECT_TRUE(wire::BeaconIsAuthentic(sealed, key.bytes()));
  EXPECT_FALSE(OpenBeacon(sealed, key));
}

TEST(MeshKeys, AreOfTheirOwnForEachUseAndNode) {
  NodeId a;
  NodeId b;
  a.bytes.fill(1);
  b.bytes.fill(2);
  const Key32 beacon = BeaconKeyOf(KeyOf(1));
  std::set<std::string> all;
  const auto add = [&](std::span<const uint8_t> key) {
    all.insert(std::string(key.begin(), key.end()));
  };
  add(beacon.bytes());
  add(BeaconKeyOf(KeyOf(2)).bytes());
  add(KnockKeyOf(KeyOf(1), a));
  add(KnockKeyOf(KeyOf(1), b));
  add(KnockKeyOf(KeyOf(2), a));
  EXPECT_EQ(all.size(), 5U);
}

}  // namespace
}  // namespace omni
