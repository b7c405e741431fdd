// SPDX-License-Identifier: Apache-2.0
// What an engine must show before a packet is given to it.
#include <fmt/format.h>

#include <cstring>
#include <string>

#include "common/byte_order.h"
#include "common/status.h"
#include "dataplane/core/aead_backends.h"

namespace omni {
namespace {

// No published vector has our nonce and our 16 bytes of AAD. These have as much of one as the
// layout allows; the tags were computed by a second implementation that gives the published ones.
struct KnownAnswer {
  Cipher cipher;
  std::array<uint8_t, 32> key;
  std::array<uint8_t, OMNI_DATA_AAD_BYTES> header;
  std::string_view text;
  std::array<uint8_t, 8> sealed;  // its first bytes
  std::array<uint8_t, kTagBytes> tag;
};

// Key 80..9f and text of RFC 8439 section 2.8.2.
constexpr std::string_view kRfc8439Text =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    "sunscreen would be it.";
constexpr std::array<uint8_t, 32> kRfc8439Key = {
    0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x8b, 0x8c, 0x8d, 0x8e, 0x8f,
    0x90, 0x91, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f};
constexpr std::array<uint8_t, OMNI_DATA_AAD_BYTES> kHeader = {
    0x04, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47};
constexpr std::string_view kZeros("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);

constexpr std::array<KnownAnswer, 3> kKnownAnswers = {{
    {.cipher = Cipher::kChaCha20Poly1305,
     .key = kRfc8439Key,
     .header = kHeader,
     .text = kRfc8439Text,
     .sealed = {0xa4, 0x79, 0xcb, 0x54, 0x62, 0x89, 0x46, 0xd6},
     .tag = {0xda, 0x9f, 0xf8, 0xb8, 0x2c, 0xc8, 0x58, 0xb2, 0x0a, 0x69, 0xbb, 0xa9, 0xf4, 0xf5,
             0x86, 0xf9}},
    // Test case 14 of McGrew and Viega, "The Galois/Counter Mode of Operation": its ciphertext.
    {.cipher = Cipher::kAes256Gcm,
     .key = {},
     .header = {},
     .text = kZeros,
     .sealed = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e},
     .tag = {0xae, 0x9b, 0x17, 0x71, 0xdb, 0xa9, 0xcf, 0x62, 0xb3, 0x9b, 0xe0, 0x17, 0x94, 0x03,
             0x30, 0xb4}},
    {.cipher = Cipher::kAes256Gcm,
     .key = kRfc8439Key,
     .header = kHeader,
     .text = kRfc8439Text,
     .sealed = {0x6c, 0x1f, 0xbc, 0x5c, 0x48, 0x6b, 0x21, 0x8e},
     .tag = {0xd3, 0x53, 0xb4, 0xb0, 0x6e, 0xab, 0x0c, 0x57, 0x37, 0x28, 0x3f, 0x46, 0x83, 0x45,
             0x7f, 0xad}},
}};

// Another implementation to compare with: OpenSSL, whose own results are compared with others'.
std::unique_ptr<CipherEngine> MakeReference(Cipher cipher, std::string_view name) {
  for (const AeadBackend backend :
       {AeadBackend::kOpenSsl, AeadBackend::kLibsodium, AeadBackend::kIpsecMb}) {
    if (AeadBackendName(backend) == name) continue;
    auto engine = MakeCipherEngine(cipher, backend);
    if (engine.ok()) return *std::move(engine);
  }
  return nullptr;  // a machine with one backend has the known answers
}

class SelfTest {
 public:
  SelfTest(CipherEngine& engine, Cipher cipher, std::string_view name)
      : engine_(engine), cipher_(cipher), name_(name), reference_(MakeReference(cipher, name)) {
    for (size_t i = 0; i < 32; ++i) key_.mutable_data()[i] = static_cast<uint8_t>(0x80 + i);
  }

  absl::Status RunAll() {
    for (const KnownAnswer& known : kKnownAnswers) {
      if (known.cipher == cipher_) RETURN_IF_ERROR(CheckKnownAnswer(known));
    }
    for (uint32_t length = 0; length <= 256; ++length) RETURN_IF_ERROR(Check(length));
    for (const uint32_t length : {511U, 512U, 1419U, 1420U, 1500U, 9000U, 65475U}) {
      RETURN_IF_ERROR(Check(length));
    }
    return CheckKeys();
  }

 private:
  absl::Status Fail(std::string_view what, uint32_t length) const {
    return absl::InternalError(fmt::format("AEAD self-test of {} by {}: {} at {} bytes",
                                           CipherName(cipher_), name_, what, length));
  }

  AeadJob Job(std::vector<uint8_t>& packet, const Key32& key) const {
    return {.key = &key,
            .header = packet.data(),
            .text_bytes = static_cast<uint32_t>(packet.size() - OMNI_DATA_OVERHEAD),
            .cipher = cipher_};
  }

  static std::vector<uint8_t> Filled(uint32_t length) {
    std::vector<uint8_t> out(OMNI_DATA_OVERHEAD + length);
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<uint8_t>(i * 7 + length);
    return out;
  }

  absl::Status CheckKnownAnswer(const KnownAnswer& known) {
    const auto length = static_cast<uint32_t>(known.text.size());
    std::vector<uint8_t> packet = Filled(length);
    std::ranges::copy(known.header, packet.begin());
    std::ranges::copy(known.text, packet.begin() + OMNI_DATA_OVERHEAD);
    const Key32 key(known.key);
    AeadJob job = Job(packet, key);
    engine_.Seal({&job, 1});
    if (!std::ranges::equal(known.sealed, std::span(TextOf(job), known.sealed.size())) ||
        !std::ranges::equal(known.tag, std::span(TagOf(job), kTagBytes))) {
      return Fail("wrong known answer", length);
    }
    return absl::OkStatus();
  }

  absl::Status Check(uint32_t length) {
    const std::vector<uint8_t> plain = Filled(length);
    std::vector<uint8_t> packet = plain;
    AeadJob job = Job(packet, key_);
    engine_.Seal({&job, 1});
    const std::vector<uint8_t> sealed = packet;
    if (reference_) {
      std::vector<uint8_t> expected = plain;
      AeadJob other = Job(expected, key_);
      reference_->Seal({&other, 1});
      if (sealed != expected) return Fail("wrong ciphertext or tag", length);
    }
    engine_.Open({&job, 1});
    if (!job.authentic) return Fail("refuses what it sealed", length);
    if (std::memcmp(TextOf(job), plain.data() + OMNI_DATA_OVERHEAD, length) != 0) {
      return Fail("does not give the text back", length);
    }
    // One flipped bit in AAD, counter, tag and text must each be noticed.
    for (const size_t at : {size_t{0}, size_t{9}, size_t{31}, sealed.size() - 1}) {
      packet = sealed;
      packet[at] ^= 1;
      AeadJob forged = Job(packet, key_);
      engine_.Open({&forged, 1});
      if (forged.authentic) return Fail("accepts a forgery", length);
    }
    return absl::OkStatus();
  }

  // Two channels of one name, in one batch and over a Forget(): what is kept of a key must not be
  // used for the other.
  absl::Status CheckKeys() {
    constexpr uint32_t kLength = 100;
    std::array<Key32, 2> keys;
    keys[1].mutable_data()[31] = 1;
    std::array<std::vector<uint8_t>, 4> packets;
    std::vector<AeadJob> jobs;
    for (size_t i = 0; i < packets.size(); ++i) {
      packets[i] = Filled(kLength);
      jobs.push_back(Job(packets[i], keys[i % 2]));
    }
    engine_.Seal(jobs);
    if (packets[0] != packets[2] || packets[1] != packets[3] || packets[0] == packets[1]) {
      return Fail("takes one key for another", kLength);
    }
    Le64 id;
    std::memcpy(&id, packets[0].data(), sizeof(id));
    engine_.Forget(id.value());
    AeadJob wrong = Job(packets[0], keys[1]);
    engine_.Open({&wrong, 1});
    engine_.Forget(id.value());
    engine_.Open({&jobs[3], 1});
    if (wrong.authentic || !jobs[3].authentic) return Fail("takes one key for another", kLength);
    return absl::OkStatus();
  }

  CipherEngine& engine_;
  const Cipher cipher_;
  const std::string_view name_;
  const std::unique_ptr<CipherEngine> reference_;
  Key32 key_;
};

}  // namespace

absl::Status SelfTestCipher(CipherEngine& engine, Cipher cipher, std::string_view name) {
  return SelfTest(engine, cipher, name).RunAll();
}

}  // namespace omni
