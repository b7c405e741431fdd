// SPDX-License-Identifier: Apache-2.0
// STUN messages (RFC 8489) as a Binding client and server need them: parsed into values, and
// written from them. Hostile bytes are the normal case: what is not well-formed to the letter is no
// message. Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "common/ip.h"
#include "common/stun_id.h"

namespace omni::stun {

inline constexpr uint32_t kMagicCookie = 0x2112A442;
inline constexpr size_t kHeaderBytes = 20;
inline constexpr uint16_t kBinding = 0x001;  // method

// Without a code of the class RFC 8489 calls it: 0b00, 0b01, 0b10, 0b11.
enum class Class : uint8_t { kRequest = 0, kIndication = 1, kSuccess = 2, kError = 3 };

// Error codes (RFC 8489 section 14.8).
inline constexpr int kErrorUnknownAttribute = 420;

// Random, or keyed (common/stun_id.h): who does not see a request cannot make its response.
using TransactionId = StunId;

// RFC 5780 section 7.2: from where the response should come.
struct ChangeRequest {
  uint32_t flags = 0;
  static constexpr uint32_t kIp = 0x04;
  static constexpr uint32_t kPort = 0x02;
  friend bool operator==(const ChangeRequest&, const ChangeRequest&) = default;
};

enum class Fingerprint : uint8_t { kAbsent, kPresent };

// Attributes that are absent are unset. Of an attribute that comes twice the first counts.
struct Message {
  Class message_class = Class::kRequest;
  uint16_t method = kBinding;  // below 0x100: what RFC 7983 leaves to STUN
  TransactionId id{};
  std::optional<Endpoint> mapped;      // MAPPED-ADDRESS, of servers before RFC 5389
  std::optional<Endpoint> xor_mapped;  // XOR-MAPPED-ADDRESS
  std::optional<Endpoint> response_origin;
  std::optional<Endpoint> other_address;
  std::optional<ChangeRequest> change_request;
  std::optional<std::string> software;       // at most 763 bytes
  std::optional<int> error_code;             // 300-699
  std::vector<uint16_t> unknown_attributes;  // UNKNOWN-ATTRIBUTES of a 420
  // Comprehension-required attributes that we do not know, none twice. Parse() fills it.
  std::vector<uint16_t> not_understood;
  Fingerprint fingerprint = Fingerprint::kAbsent;  // a right one; a wrong one makes no message

  // Where the sender of a response saw us.
  std::optional<Endpoint> reflexive() const { return xor_mapped ? xor_mapped : mapped; }
  friend bool operator==(const Message&, const Message&) = default;
};

std::optional<Message> Parse(std::span<const uint8_t> datagram);

// `not_understood` is not written. A right FINGERPRINT ends the message when it is asked for.
std::vector<uint8_t> Encode(const Message& message);

}  // namespace omni::stun
