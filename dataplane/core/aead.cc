// SPDX-License-Identifier: Apache-2.0
#include "dataplane/core/aead.h"

#include <fmt/format.h>

#include <cstring>
#include <string>

#include "common/byte_order.h"
#include "common/status.h"
#include "dataplane/core/aead_backends.h"

namespace omni {
namespace {

// A known answer in our layout: key 80..9f and text of RFC 8439 section 2.8.2, AAD and counter of
// our header. The tag was computed with OpenSSL 3.0.
constexpr std::string_view kKnownText =
    "Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    "sunscreen would be it.";
constexpr std::array<uint8_t, OMNI_DATA_AAD_BYTES> kKnownAad = {
    0x04, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47};
constexpr std::array<uint8_t, 16> kKnownTag = {0xda, 0x9f, 0xf8, 0xb8, 0x2c, 0xc8, 0x58, 0xb2,
                                               0x0a, 0x69, 0xbb, 0xa9, 0xf4, 0xf5, 0x86, 0xf9};

class SelfTest {
 public:
  explicit SelfTest(Aead& aead) : aead_(aead) {
    for (size_t i = 0; i < 32; ++i) key_.mutable_data()[i] = static_cast<uint8_t>(0x80 + i);
  }

  absl::Status RunAll() {
    RETURN_IF_ERROR(CheckKnownAnswer());
    for (uint32_t length = 0; length <= 256; ++length) RETURN_IF_ERROR(Check(length));
    for (const uint32_t length : {511U, 512U, 1419U, 1420U, 1500U, 9000U, 65475U}) {
      RETURN_IF_ERROR(Check(length));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Fail(std::string_view what, uint32_t length) const {
    return absl::InternalError(
        fmt::format("AEAD self-test of {}: {} at {} bytes", aead_.name(), what, length));
  }

  void Fill(uint32_t length) {
    buffer_.resize(OMNI_DATA_OVERHEAD + length);
    for (size_t i = 0; i < buffer_.size(); ++i) buffer_[i] = static_cast<uint8_t>(i * 7 + length);
  }

  absl::Status CheckKnownAnswer() {
    const auto length = static_cast<uint32_t>(kKnownText.size());
    Fill(length);
    std::ranges::copy(kKnownAad, buffer_.begin());
    std::ranges::copy(kKnownText, buffer_.begin() + OMNI_DATA_OVERHEAD);
    AeadJob job{.key = &key_, .header = buffer_.data(), .text_bytes = length};
    aead_.Seal({&job, 1});
    if (!std::equal(kKnownTag.begin(), kKnownTag.end(), TagOf(job))) {
      return Fail("wrong known answer", length);
    }
    return absl::OkStatus();
  }

  absl::Status Check(uint32_t length) {
    Fill(length);
    const std::vector<uint8_t> plain = buffer_;
    std::vector<uint8_t> expected = plain;
    AeadJob reference{.key = &key_, .header = expected.data(), .text_bytes = length};
    MakeSodiumAead()->Seal({&reference, 1});

    AeadJob job{.key = &key_, .header = buffer_.data(), .text_bytes = length};
    aead_.Seal({&job, 1});
    if (buffer_ != expected) return Fail("wrong ciphertext or tag", length);
    aead_.Open({&job, 1});
    if (!job.authentic) return Fail("refuses what it sealed", length);
    if (std::memcmp(TextOf(job), plain.data() + OMNI_DATA_OVERHEAD, length) != 0) {
      return Fail("does not give the text back", length);
    }
    // One flipped bit in AAD, counter, tag and text must each be noticed.
    for (const size_t at : {size_t{0}, size_t{9}, size_t{31}, expected.size() - 1}) {
      buffer_ = expected;
      buffer_[at] ^= 1;
      AeadJob forged{.key = &key_, .header = buffer_.data(), .text_bytes = length};
      aead_.Open({&forged, 1});
      if (forged.authentic) return Fail("accepts a forgery", length);
    }
    return absl::OkStatus();
  }

  Aead& aead_;
  Key32 key_;
  std::vector<uint8_t> buffer_;
};

}  // namespace

std::string_view AeadBackendName(AeadBackend backend) {
  switch (backend) {
    case AeadBackend::kIpsecMb:
      return "ipsec-mb";
    case AeadBackend::kLibsodium:
      return "libsodium";
  }
  return "";
}

std::vector<AeadBackend> AvailableAeadBackends() {
  std::vector<AeadBackend> out;
  for (const AeadBackend backend : {AeadBackend::kIpsecMb, AeadBackend::kLibsodium}) {
    if (MakeAead(backend).ok()) out.push_back(backend);
  }
  return out;
}

absl::StatusOr<std::unique_ptr<Aead>> MakeAead(AeadBackend backend) {
  std::unique_ptr<Aead> out;
  if (backend == AeadBackend::kLibsodium) out = MakeSodiumAead();
#ifdef OMNI_HAVE_IPSEC_MB
  if (backend == AeadBackend::kIpsecMb) out = MakeIpsecMbAead();
#endif
  if (!out) {
    return absl::UnimplementedError(
        fmt::format("AEAD backend {}: not available on this machine", AeadBackendName(backend)));
  }
  return out;
}

absl::Status SelfTestAead(Aead& aead) { return SelfTest(aead).RunAll(); }

}  // namespace omni
