// SPDX-License-Identifier: Apache-2.0
#include "signal/stun/message.h"

#include <algorithm>
#include <cstring>

#include "common/byte_order.h"

namespace omni::stun {
namespace {

// RFC 8489 section 18.3, RFC 5780 section 9.1.
enum Attribute : uint16_t {
  kMappedAddress = 0x0001,
  kChangeRequest = 0x0003,
  kUsername = 0x0006,
  kMessageIntegrity = 0x0008,
  kErrorCode = 0x0009,
  kUnknownAttributes = 0x000A,
  kRealm = 0x0014,
  kNonce = 0x0015,
  kMessageIntegritySha256 = 0x001C,
  kPasswordAlgorithm = 0x001D,
  kUserhash = 0x001E,
  kXorMappedAddress = 0x0020,
  kSoftware = 0x8022,
  kFingerprint = 0x8028,
  kResponseOrigin = 0x802B,
  kOtherAddress = 0x802C,
};
constexpr uint16_t kComprehensionOptional = 0x8000;
constexpr size_t kAttributeHeader = 4;
constexpr size_t kFingerprintBytes = kAttributeHeader + 4;
constexpr uint32_t kFingerprintXor = 0x5354554E;
// LIMIT: RFC 8489 section 14.14.
constexpr size_t kMaxSoftware = 763;
constexpr uint8_t kFamilyV4 = 1;
constexpr uint8_t kFamilyV6 = 2;

// CRC-32 of ITU-T V.42, bit by bit: a message has some dozens of bytes.
uint32_t Crc32(std::span<const uint8_t> bytes) {
  uint32_t crc = ~uint32_t{0};
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

uint16_t Read16(std::span<const uint8_t> bytes, size_t at) {
  Be16 value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value.value();
}

uint32_t Read32(std::span<const uint8_t> bytes, size_t at) {
  Be32 value;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value.value();
}

// The four bits of the class and the twelve of the method interleave (RFC 8489 section 5).
uint16_t TypeOf(Class message_class, uint16_t method) {
  const auto c = static_cast<uint16_t>(message_class);
  return static_cast<uint16_t>((method & 0x000FU) | (method & 0x0070U) << 1U |
                               (method & 0x0F80U) << 2U | (c & 1U) << 4U | (c & 2U) << 7U);
}

void SetType(Message& message, uint16_t type) {
  message.message_class = static_cast<Class>((type >> 4U & 1U) | (type >> 7U & 2U));
  message.method =
      static_cast<uint16_t>((type & 0x000FU) | (type >> 1U & 0x0070U) | (type >> 2U & 0x0F80U));
}

// What an address is combined with: the cookie, and for IPv6 the transaction id.
std::array<uint8_t, 16> MaskOf(const TransactionId& id) {
  std::array<uint8_t, 16> mask{};
  const Be32 cookie(kMagicCookie);
  std::memcpy(mask.data(), &cookie, sizeof(cookie));
  std::ranges::copy(id, mask.begin() + sizeof(cookie));
  return mask;
}

enum class Masked : uint8_t { kNo, kYes };

std::optional<Endpoint> ReadAddress(std::span<const uint8_t> value, const TransactionId& id,
                                    Masked masked) {
  if (value.size() < 4) return std::nullopt;
  const size_t size = value[1] == kFamilyV4 ? 4 : value[1] == kFamilyV6 ? 16 : 0;
  if (size == 0 || value.size() != 4 + size) return std::nullopt;
  std::array<uint8_t, 16> raw{};
  std::copy(value.begin() + 4, value.end(), raw.begin());
  uint16_t port = Read16(value, 2);
  if (masked == Masked::kYes) {
    const auto mask = MaskOf(id);
    for (size_t i = 0; i < size; ++i) raw[i] ^= mask[i];
    port ^= static_cast<uint16_t>(kMagicCookie >> 16U);
  }
  const auto address = IpAddress::FromBytes({raw.data(), size});
  if (!address || port == 0) return std::nullopt;
  return Endpoint{.address = *address, .port = port};
}

// Takes a well-formed value into `field` unless it has one; false when the value is malformed.
template <typename T>
bool Take(std::optional<T>& field, std::optional<T> value) {
  if (!value) return false;
  if (!field) field = std::move(value);
  return true;
}

std::optional<int> ReadErrorCode(std::span<const uint8_t> value) {
  if (value.size() < 4) return std::nullopt;
  const int hundreds = value[2] & 7;
  const int rest = value[3];
  if (hundreds < 3 || hundreds > 6 || rest > 99) return std::nullopt;
  return hundreds * 100 + rest;
}

bool TakeUnknownAttributes(Message& message, std::span<const uint8_t> value) {
  if (value.size() % 2 != 0) return false;
  if (!message.unknown_attributes.empty()) return true;
  for (size_t at = 0; at < value.size(); at += 2) {
    message.unknown_attributes.push_back(Read16(value, at));
  }
  return true;
}

void NoteNotUnderstood(Message& message, uint16_t type) {
  auto& list = message.not_understood;
  if (std::ranges::find(list, type) == list.end()) list.push_back(type);
}

// False when the attribute is malformed. An unknown one never is.
bool TakeAttribute(Message& message, uint16_t type, std::span<const uint8_t> value) {
  const auto& id = message.id;
  switch (type) {
    case kMappedAddress:
      return Take(message.mapped, ReadAddress(value, id, Masked::kNo));
    case kXorMappedAddress:
      return Take(message.xor_mapped, ReadAddress(value, id, Masked::kYes));
    case kResponseOrigin:
      return Take(message.response_origin, ReadAddress(value, id, Masked::kNo));
    case kOtherAddress:
      return Take(message.other_address, ReadAddress(value, id, Masked::kNo));
    case kChangeRequest:
      if (value.size() != 4) return false;
      return Take(message.change_request, std::optional(ChangeRequest{Read32(value, 0)}));
    case kErrorCode:
      return Take(message.error_code, ReadErrorCode(value));
    case kUnknownAttributes:
      return TakeUnknownAttributes(message, value);
    case kSoftware:
      if (value.size() > kMaxSoftware) return false;
      return Take(message.software, std::optional(std::string(value.begin(), value.end())));
    case kUsername:
    case kRealm:
    case kNonce:
    case kPasswordAlgorithm:
    case kUserhash:
    case kMessageIntegrity:
    case kMessageIntegritySha256:
      return true;  // known; Binding without credentials makes nothing of them
    default:
      if (type < kComprehensionOptional) NoteNotUnderstood(message, type);
      return true;
  }
}

// The last attribute, over everything before it; the length field counts it already.
bool FingerprintIsRight(std::span<const uint8_t> datagram, size_t at) {
  if (at + kFingerprintBytes != datagram.size() || Read16(datagram, at + 2) != 4) return false;
  return Read32(datagram, at + kAttributeHeader) == (Crc32(datagram.first(at)) ^ kFingerprintXor);
}

class Writer {
 public:
  explicit Writer(const Message& message) : id_(message.id) {
    Put16(TypeOf(message.message_class, message.method));
    Put16(0);
    Put32(kMagicCookie);
    bytes_.insert(bytes_.end(), id_.begin(), id_.end());
  }

  void Address(uint16_t type, const std::optional<Endpoint>& endpoint, Masked masked) {
    if (!endpoint) return;
    const bool is_v4 = endpoint->address.is_v4();
    std::vector<uint8_t> raw(endpoint->address.raw().begin(), endpoint->address.raw().end());
    uint16_t port = endpoint->port;
    if (masked == Masked::kYes) {
      const auto mask = MaskOf(id_);
      for (size_t i = 0; i < raw.size(); ++i) raw[i] ^= mask[i];
      port ^= static_cast<uint16_t>(kMagicCookie >> 16U);
    }
    Begin(type, 4 + raw.size());
    bytes_.push_back(0);
    bytes_.push_back(is_v4 ? kFamilyV4 : kFamilyV6);
    Put16(port);
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
  }
  void Number(uint16_t type, uint32_t value) {
    Begin(type, 4);
    Put32(value);
  }
  void ErrorCode(int code) {
    Number(kErrorCode, static_cast<uint32_t>(code / 100) << 8U | static_cast<uint32_t>(code % 100));
  }
  void List(uint16_t type, const std::vector<uint16_t>& values) {
    Begin(type, values.size() * 2);
    for (const uint16_t value : values) Put16(value);
    Pad();
  }
  void Text(uint16_t type, const std::string& text) {
    Begin(type, text.size());
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    Pad();
  }
  std::vector<uint8_t> Finish(Fingerprint fingerprint) {
    const bool has = fingerprint == Fingerprint::kPresent;
    const Be16 length(
        static_cast<uint16_t>(bytes_.size() - kHeaderBytes + (has ? kFingerprintBytes : 0)));
    std::memcpy(bytes_.data() + 2, &length, sizeof(length));
    if (has) Number(kFingerprint, Crc32(bytes_) ^ kFingerprintXor);
    return std::move(bytes_);
  }

 private:
  void Begin(uint16_t type, size_t size) {
    Put16(type);
    Put16(static_cast<uint16_t>(size));
  }
  void Put16(uint16_t value) { Put(Be16(value)); }
  void Put32(uint32_t value) { Put(Be32(value)); }
  template <typename T>
  void Put(const T& value) {
    std::array<uint8_t, sizeof(T)> raw{};
    std::memcpy(raw.data(), &value, sizeof(value));
    bytes_.insert(bytes_.end(), raw.begin(), raw.end());
  }
  void Pad() {
    while (bytes_.size() % 4 != 0) bytes_.push_back(0);
  }

  const TransactionId id_;
  std::vector<uint8_t> bytes_;
};

}  // namespace

std::optional<Message> Parse(std::span<const uint8_t> datagram) {
  if (!IsStun(datagram) || Read16(datagram, 2) != datagram.size() - kHeaderBytes ||
      datagram.size() % 4 != 0) {
    return std::nullopt;
  }
  Message message;
  SetType(message, Read16(datagram, 0));
  std::copy_n(datagram.begin() + 8, message.id.size(), message.id.begin());
  bool integrity = false;  // behind it only FINGERPRINT counts (RFC 8489 section 14.5)
  size_t at = kHeaderBytes;
  while (at < datagram.size()) {
    const uint16_t type = Read16(datagram, at);  // four bytes are there: sizes are multiples of 4
    const size_t size = Read16(datagram, at + 2);
    if (size > datagram.size() - at - kAttributeHeader) return std::nullopt;
    if (type == kFingerprint) {
      if (!FingerprintIsRight(datagram, at)) return std::nullopt;
      message.fingerprint = Fingerprint::kPresent;
    } else if (!integrity &&
               !TakeAttribute(message, type, datagram.subspan(at + kAttributeHeader, size))) {
      return std::nullopt;
    }
    integrity = integrity || type == kMessageIntegrity || type == kMessageIntegritySha256;
    at += kAttributeHeader + (size + 3) / 4 * 4;
  }
  return message;
}

std::vector<uint8_t> Encode(const Message& message) {
  Writer out(message);
  if (message.software) out.Text(kSoftware, message.software->substr(0, kMaxSoftware));
  if (message.change_request) out.Number(kChangeRequest, message.change_request->flags);
  if (message.error_code) out.ErrorCode(*message.error_code);
  if (!message.unknown_attributes.empty()) {
    out.List(kUnknownAttributes, message.unknown_attributes);
  }
  out.Address(kMappedAddress, message.mapped, Masked::kNo);
  out.Address(kXorMappedAddress, message.xor_mapped, Masked::kYes);
  out.Address(kResponseOrigin, message.response_origin, Masked::kNo);
  out.Address(kOtherAddress, message.other_address, Masked::kNo);
  return out.Finish(message.fingerprint);
}

}  // namespace omni::stun
