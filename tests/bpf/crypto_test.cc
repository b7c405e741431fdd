// SPDX-License-Identifier: Apache-2.0
// The AEAD inside the programs against libsodium and RFC 8439.
#include <sodium.h>

#include <cstdio>
#include <random>

#include "common/clock.h"
#include "tests/bpf/fixture.h"

namespace omni::bpf_testing {
namespace {

class BpfCrypto : public BpfHookTest {};

std::span<const uint8_t> InnerOf(std::span<const uint8_t> frame) { return frame.subspan(14); }

// Every length that an inner packet can have: what libsodium sealed comes out as it was.
TEST_P(BpfCrypto, OpensEveryLength) {
  uint64_t counter = 0;
  for (size_t bytes = 20; bytes <= 1500; ++bytes) {
    const Bytes inner = InnerV4(bytes);
    const Result result = Receive(MakeFrame({}, Sealed(counter++, inner)));
    ASSERT_EQ(result.action, kRedirect) << bytes << " bytes";
    ASSERT_TRUE(std::ranges::equal(InnerOf(result.packet), inner)) << bytes << " bytes";
  }
}

// Below the length of a header nothing is delivered, but the tag is judged all the same.
TEST_P(BpfCrypto, JudgesTheTagOfEveryShortLength) {
  uint64_t counter = 0;
  for (size_t bytes = 0; bytes < 20; ++bytes) {
    const Bytes text(bytes, 0x45);
    Bytes datagram = Sealed(counter++, text);
    const uint64_t packets = object_->rx()[kRxSlot].packets;
    EXPECT_EQ(Receive(MakeFrame({}, datagram)).action, kDrop);
    EXPECT_EQ(object_->rx()[kRxSlot].packets, packets + 1) << bytes << " bytes";
    datagram = Sealed(counter++, text);
    datagram[16] ^= 1;
    const uint64_t bad = drops(OMNI_DROP_rx_bad_tag);
    EXPECT_EQ(Receive(MakeFrame({}, datagram)).action, kDrop);
    EXPECT_EQ(drops(OMNI_DROP_rx_bad_tag), bad + 1) << bytes << " bytes";
  }
}

TEST_P(BpfCrypto, RefusesAChangeOfAnyBit) {
  const Bytes inner = InnerV4(93);
  const Bytes datagram = Sealed(5, inner);
  // Bytes 0-7 are the channel's id: another channel, which is nobody's.
  for (size_t byte = 8; byte < datagram.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes changed = datagram;
      changed[byte] ^= static_cast<uint8_t>(1 << bit);
      // The highest bits of the counter are beyond its limit.
      const Result result = Receive(MakeFrame({}, changed));
      ASSERT_EQ(result.action, kDrop) << "byte " << byte << " bit " << bit;
    }
  }
  EXPECT_EQ(object_->rx()[kRxSlot].packets, 0U);
  EXPECT_EQ(Receive(MakeFrame({}, datagram)).action, kRedirect) << "the window did not move";
}

// Random keys, counters and texts, lengths around the edges of blocks.
TEST_P(BpfCrypto, AgreesWithLibsodiumOnRandomInput) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 2000; ++i) {
    for (uint8_t& byte : rx_key_) byte = static_cast<uint8_t>(random());
    std::ranges::copy(rx_key_, object_->rx()[kRxSlot].key);
    ResetWindow();
    const size_t bytes = 20 + random() % 1480;
    Bytes inner = InnerV4(bytes);
    for (size_t j = 20; j < bytes; ++j) inner[j] = static_cast<uint8_t>(random());
    const uint64_t counter = random() % OMNI_REJECT_AFTER_MESSAGES;
    const Result result = Receive(MakeFrame({}, Sealed(counter, inner)));
    ASSERT_EQ(result.action, kRedirect);
    ASSERT_TRUE(std::ranges::equal(InnerOf(result.packet), inner));
  }
}

// Gives the datagram the tag that a one-time key makes of it (RFC 8439, section 2.8).
void SetTag(Bytes& datagram, std::span<const uint8_t, 32> one_time_key) {
  crypto_onetimeauth_state state;
  crypto_onetimeauth_init(&state, one_time_key.data());
  const size_t text = datagram.size() - OMNI_DATA_OVERHEAD;
  const std::array<uint8_t, 16> zeros{};
  const Le64 lengths[2] = {Le64(OMNI_DATA_AAD_BYTES), Le64(text)};
  crypto_onetimeauth_update(&state, datagram.data(), OMNI_DATA_AAD_BYTES);
  crypto_onetimeauth_update(&state, datagram.data() + OMNI_DATA_OVERHEAD, text);
  crypto_onetimeauth_update(&state, zeros.data(), (16 - text % 16) % 16);
  // SAFETY: two little-endian words as bytes.
  crypto_onetimeauth_update(&state, reinterpret_cast<const uint8_t*>(lengths), 16);
  crypto_onetimeauth_final(&state, &datagram[16]);
}

// Texts that drive Poly1305 to the edges of its arithmetic: all ones, all zeros.
TEST_P(BpfCrypto, CarriesThroughEveryLimb) {
  uint64_t counter = 0;
  for (const uint8_t fill : {0x00, 0xff, 0x80, 0x7f}) {
    for (size_t bytes = 20; bytes < 300; bytes += 7) {
      // The ciphertext is what the authenticator sees: forge it, and ask libsodium for the tag.
      Bytes datagram = Sealed(counter++, InnerV4(bytes));
      std::fill(datagram.begin() + OMNI_DATA_OVERHEAD, datagram.end(), fill);
      std::array<uint8_t, 12> nonce{};
      std::memcpy(&nonce[4], &datagram[8], 8);
      std::array<uint8_t, 64> block{};
      crypto_stream_chacha20_ietf(block.data(), block.size(), nonce.data(), rx_key_.data());
      SetTag(datagram, std::span(block).first<32>());
      const uint64_t bad = drops(OMNI_DROP_rx_bad_tag);
      Receive(MakeFrame({}, datagram));
      ASSERT_EQ(drops(OMNI_DROP_rx_bad_tag), bad) << int{fill} << " x " << bytes;
    }
  }
}

// RFC 8439, appendix A.2, vectors 1 and 2 with the nonce and key zero: the key stream of blocks 0
// and 1.
TEST_P(BpfCrypto, HasTheKeyStreamOfTheRfc) {
  const std::array<uint8_t, 32> block1 = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a,
                                          0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d,
                                          0xcb, 0x0f, 0x29, 0xa0, 0x48, 0xe3, 0x65, 0x69,
                                          0x12, 0xc6, 0x53, 0x3e, 0x32, 0xee, 0x7a, 0xed};
  rx_key_ = {};
  std::ranges::copy(rx_key_, object_->rx()[kRxSlot].key);
  const Bytes inner = InnerV4(60);
  const Bytes datagram = Sealed(0, inner);
  for (size_t i = 0; i < block1.size(); ++i) {
    ASSERT_EQ(datagram[OMNI_DATA_OVERHEAD + i] ^ inner[i], block1[i]) << "the test's own sealing";
  }
  const Result result = Receive(MakeFrame({}, datagram));
  ASSERT_EQ(result.action, kRedirect);
  EXPECT_TRUE(std::ranges::equal(InnerOf(result.packet), inner));
}

// RFC 8439, appendix A.4, vectors 1 to 3: the key of the authenticator. Their nonces begin with
// four zero bytes, as ours do; the last byte of the nonce is the highest of the counter.
TEST_P(BpfCrypto, DerivesTheOneTimeKeysOfTheRfc) {
  const struct {
    const char* key;
    uint64_t counter;
    const char* one_time_key;
  } cases[] = {
      {"0000000000000000000000000000000000000000000000000000000000000000", 0,
       "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"},
      {"0000000000000000000000000000000000000000000000000000000000000001", 2ULL << 56,
       "ecfa254f845f647473d3cb140da9e87606cb33066c447b87bc2666dde3fbb739"},
      {"1c9240a5eb55d38af333888604f6b5f0473917c1402b80099dca5cbc207075c0", 2ULL << 56,
       "965e3bc6f9ec7ed9560808f4d229f94b137ff275ca9b3fcbdd59deaad23310ae"},
  };
  const auto from_hex = [](const char* text) {
    std::array<uint8_t, 32> out{};
    EXPECT_EQ(
        sodium_hex2bin(out.data(), out.size(), text, std::strlen(text), nullptr, nullptr, nullptr),
        0);
    return out;
  };
  for (const auto& c : cases) {
    ResetWindow();
    std::ranges::copy(from_hex(c.key), object_->rx()[kRxSlot].key);
    Bytes datagram = Sealed(c.counter, InnerV4(100));  // under another key: what counts is the tag
    SetTag(datagram, from_hex(c.one_time_key));
    const uint64_t packets = object_->rx()[kRxSlot].packets;
    Receive(MakeFrame({}, datagram));
    EXPECT_EQ(object_->rx()[kRxSlot].packets, packets + 1) << c.one_time_key;
  }
}

OMNI_AT_BOTH_HOOKS(BpfCrypto);

class BpfLoading : public BpfTest {};

// LIMIT: issue target; a program beyond it takes seconds to load on slow machines.
TEST_F(BpfLoading, StaysWithinTheVerifiersPatience) {
  constexpr std::pair<const char*, KernelProgram> kPrograms[] = {
      {"open at TC", KernelProgram::kOpenWire},
      {"open at XDP", KernelProgram::kOpenFrame},
      {"open again", KernelProgram::kOpenAgain},
      {"seal", KernelProgram::kSealTun}};
  for (const auto& [name, program] : kPrograms) {
    const uint32_t instructions = object_->verified_instructions(program);
    std::printf("%-12s %6u verified instructions\n", name, instructions);
    EXPECT_GT(instructions, 0U);
    EXPECT_LT(instructions, 120'000U);
  }
  Duration best = Duration::max();
  for (int i = 0; i < 5; ++i) {
    const Instant begin = Now();
    EXPECT_TRUE(KernelObject::Load({.listen_port = kPort, .xdp = KernelXdp::kYes}).ok());
    best = std::min(best, Now() - begin);
  }
  std::printf("all of them  %6.1f ms to load\n",
              std::chrono::duration<double, std::milli>(best).count());
}

}  // namespace
}  // namespace omni::bpf_testing
