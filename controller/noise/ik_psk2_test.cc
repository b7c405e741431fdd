// SPDX-License-Identifier: Apache-2.0
#include "controller/noise/ik_psk2.h"

#include <gtest/gtest.h>
#include <sodium.h>

#include <fstream>
#include <map>
#include <string>

#include "common/encoding.h"

namespace omni::noise {
namespace {

using Bytes = std::vector<uint8_t>;

struct Vector {
  std::map<std::string, Bytes> fields;
  std::vector<Bytes> payloads;
  std::vector<Bytes> ciphertexts;

  Key32 Key(const std::string& name) const {
    return Key32(std::span<const uint8_t, 32>(fields.at(name)));
  }
};

Vector ReadVector() {
  std::ifstream in("controller/noise/testdata/ik_psk2.txt");
  Vector vector;
  std::string name;
  std::string hex;
  while (in >> name) {
    if (name == "#") {
      std::getline(in, hex);
      continue;
    }
    in >> hex;
    const Bytes value = HexDecode(hex).value();
    if (name == "payload") {
      vector.payloads.push_back(value);
    } else if (name == "ciphertext") {
      vector.ciphertexts.push_back(value);
    } else {
      vector.fields[name] = value;
    }
  }
  return vector;
}

template <size_t N>
std::array<uint8_t, N> Take(std::span<const uint8_t> from, size_t offset) {
  std::array<uint8_t, N> out{};
  std::copy_n(from.begin() + offset, N, out.begin());
  return out;
}

Bytes Concat(std::initializer_list<std::span<const uint8_t>> parts) {
  Bytes out;
  for (const auto part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

TEST(IkPsk2, AgreesWithThePublishedVector) {
  const Vector v = ReadVector();
  ASSERT_EQ(v.ciphertexts.size(), 6U);
  const Bytes& prologue = v.fields.at("init_prologue");
  const Key32 init_static = v.Key("init_static");
  const Key32 resp_static = v.Key("resp_static");
  const PublicKey init_public = PublicOf(init_static);
  const PublicKey resp_public = PublicOf(resp_static);
  EXPECT_EQ(Bytes(resp_public.begin(), resp_public.end()), v.fields.at("init_remote_static"));
  const auto static_static = Dh(init_static, resp_public);
  ASSERT_TRUE(static_static);

  auto initiator = Initiator::BeginInitiation(prologue, init_public, resp_public, *static_static,
                                              v.Key("init_ephemeral"));
  ASSERT_TRUE(initiator);
  EXPECT_EQ(Concat({initiator->ephemeral(), initiator->encrypted_static(),
                    initiator->EncryptPayload(v.payloads[0])}),
            v.ciphertexts[0]);

  const auto& first = v.ciphertexts[0];
  auto responder = Responder::ReadInitiation(prologue, resp_static, resp_public, Take<32>(first, 0),
                                             Take<48>(first, 32));
  ASSERT_TRUE(responder);
  EXPECT_EQ(responder->remote_static(), init_public);
  EXPECT_EQ(responder->ReadPayload(*static_static, std::span(first).subspan(80)), v.payloads[0]);
  ASSERT_TRUE(responder->BeginResponse(v.Key("resp_ephemeral"), v.Key("psk")));
  EXPECT_EQ(Concat({responder->ephemeral(), responder->EncryptPayload(v.payloads[1])}),
            v.ciphertexts[1]);
  const TransportKeys keys = responder->Finish();
  EXPECT_EQ(Bytes(keys.handshake_hash.begin(), keys.handshake_hash.end()),
            v.fields.at("handshake_hash"));

  const auto& second = v.ciphertexts[1];
  const auto result = initiator->ReadResponse(Take<32>(second, 0), std::span(second).subspan(32),
                                              init_static, v.Key("psk"));
  ASSERT_TRUE(result);
  EXPECT_EQ(result->payload, v.payloads[1]);
  EXPECT_TRUE(result->keys.from_initiator == keys.from_initiator);
  EXPECT_TRUE(result->keys.from_responder == keys.from_responder);
  EXPECT_EQ(result->keys.handshake_hash, keys.handshake_hash);

  for (size_t i = 2; i < v.payloads.size(); ++i) {
    const Key32& key = i % 2 == 0 ? keys.from_initiator : keys.from_responder;
    EXPECT_EQ(Seal(key, (i - 2) / 2, {}, v.payloads[i]), v.ciphertexts[i]) << i;
    EXPECT_EQ(Open(key, (i - 2) / 2, {}, v.ciphertexts[i]), v.payloads[i]) << i;
  }
}

TEST(IkPsk2, OpensNothingThatWasChanged) {
  const Vector v = ReadVector();
  const Key32 key = v.Key("psk");
  const Bytes sealed = Seal(key, 7, v.payloads[0], v.payloads[1]);
  EXPECT_EQ(Open(key, 7, v.payloads[0], sealed), v.payloads[1]);
  EXPECT_FALSE(Open(key, 8, v.payloads[0], sealed));
  EXPECT_FALSE(Open(key, 7, v.payloads[2], sealed));
  for (size_t i = 0; i < sealed.size(); ++i) {
    Bytes changed = sealed;
    changed[i] ^= 0x80U;
    EXPECT_FALSE(Open(key, 7, v.payloads[0], changed)) << i;
    EXPECT_FALSE(Open(key, 7, v.payloads[0], std::span(sealed).first(i))) << i;
  }
}

TEST(IkPsk2, RefusesPointsOfLowOrder) {
  const Vector v = ReadVector();
  // Order 1, 2 and 8 (RFC 7748 section 6.1; the list of cr.yp.to/ecdh.html), and p itself.
  for (const char* hex : {"0000000000000000000000000000000000000000000000000000000000000000",
                          "0100000000000000000000000000000000000000000000000000000000000000",
                          "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
                          "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
                          "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
                          "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"}) {
    const PublicKey low = Take<32>(*HexDecode(hex), 0);
    const Key32 key = v.Key("init_static");
    EXPECT_FALSE(Dh(key, low)) << hex;
    EXPECT_FALSE(Initiator::BeginInitiation({}, PublicOf(key), low, key, key.Clone())) << hex;
    EXPECT_FALSE(Responder::ReadInitiation({}, key, PublicOf(key), low, {})) << hex;
  }
}

TEST(IkPsk2, AForgedResponseLeavesTheInitiatorAsItWas) {
  const Vector v = ReadVector();
  const Key32 init_static = v.Key("init_static");
  const PublicKey resp_public = PublicOf(v.Key("resp_static"));
  auto initiator =
      Initiator::BeginInitiation(v.fields.at("init_prologue"), PublicOf(init_static), resp_public,
                                 *Dh(init_static, resp_public), v.Key("init_ephemeral"));
  ASSERT_TRUE(initiator);
  initiator->EncryptPayload(v.payloads[0]);
  const auto& good = v.ciphertexts[1];
  for (size_t i = 0; i < good.size(); ++i) {
    Bytes bad = good;
    bad[i] ^= 1U;
    EXPECT_FALSE(initiator->ReadResponse(Take<32>(bad, 0), std::span(bad).subspan(32), init_static,
                                         v.Key("psk")))
        << i;
  }
  EXPECT_FALSE(initiator->ReadResponse(Take<32>(good, 0), std::span(good).subspan(32), init_static,
                                       v.Key("init_static")));
  EXPECT_TRUE(initiator->ReadResponse(Take<32>(good, 0), std::span(good).subspan(32), init_static,
                                      v.Key("psk")));
}

}  // namespace
}  // namespace omni::noise
