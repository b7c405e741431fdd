// SPDX-License-Identifier: Apache-2.0
// STUN as strangers may send it: to the parser, to a server, to a waiting client. What was
// understood can be said again and means the same; no answer is larger than the standard's; no
// answer is ever answered.
#include <algorithm>
#include <cstdint>

#include "common/status.h"
#include "signal/stun/answer.h"
#include "signal/stun/message.h"
#include "signal/stun/transaction.h"

namespace omni::stun {
namespace {

void Serve(std::span<const uint8_t> input) {
  const Endpoint source = *Endpoint::Parse("[2001:db8::7]:40000");
  const IpAddress local = *IpAddress::Parse("2001:db8::1");
  constexpr ServerPorts kPorts{.first = 1, .second = 2};
  const auto answer = AnswerRequest(input, source, local, ServerPort::kSecond, kPorts);
  if (!answer) return;
  // LIMIT: the header, three addresses, a fingerprint.
  OMNI_CHECK(answer->bytes.size() <= kHeaderBytes + 3 * 24 + 8);
  OMNI_CHECK(Parse(answer->bytes).has_value());
  OMNI_CHECK(!AnswerRequest(answer->bytes, source, local, ServerPort::kFirst, kPorts));
}

void Feed(std::span<const uint8_t> input) {
  auto message = Parse(input);
  Serve(input);
  if (!message) return;
  OMNI_CHECK(IsStun(input));
  message->not_understood.clear();
  OMNI_CHECK(Parse(Encode(*message)) == message);

  const Endpoint server = *Endpoint::Parse("198.51.100.1:3478");
  Transaction transaction(Message{.id = message->id}, server, {}, Instant());
  transaction.OnTimer(Instant());
  const auto response = transaction.OnDatagram(input, server, Instant());
  OMNI_CHECK(!response || response->reflexive() || response->error_code);
}

// Header, length and cookie made right, so that the attributes are reached.
void FeedFixed(std::span<const uint8_t> input) {
  if (input.size() < kHeaderBytes) return;
  std::vector<uint8_t> bytes(input.begin(), input.begin() + input.size() / 4 * 4);
  bytes[0] &= 3U;
  bytes[2] = static_cast<uint8_t>((bytes.size() - kHeaderBytes) >> 8U);
  bytes[3] = static_cast<uint8_t>(bytes.size() - kHeaderBytes);
  constexpr std::array<uint8_t, 4> kCookie = {0x21, 0x12, 0xA4, 0x42};
  std::copy(kCookie.begin(), kCookie.end(), bytes.begin() + 4);
  Feed(bytes);
}

}  // namespace
}  // namespace omni::stun

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  omni::stun::Feed({data, size});
  if (size < 65536) omni::stun::FeedFixed({data, size});
  return 0;
}
