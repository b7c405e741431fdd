// SPDX-License-Identifier: Apache-2.0
#include "signal/stun/answer.h"

#include "signal/stun/message.h"

namespace omni::stun {
namespace {

// Attribute number of CHANGE-REQUEST, for its refusal.
constexpr uint16_t kChangeRequestAttribute = 0x0003;
// LIMIT: a refusal names so many: it must not be longer than a request that lists many.
constexpr size_t kMaxNamed = 8;

ServerPort OtherOf(ServerPort port) {
  return port == ServerPort::kFirst ? ServerPort::kSecond : ServerPort::kFirst;
}

Message ResponseTo(const Message& request, Class response_class) {
  return {.message_class = response_class, .id = request.id, .fingerprint = request.fingerprint};
}

Answer Refuse(const Message& request, ServerPort arrived, std::vector<uint16_t> attributes) {
  Message response = ResponseTo(request, Class::kError);
  response.error_code = kErrorUnknownAttribute;
  if (attributes.size() > kMaxNamed) attributes.resize(kMaxNamed);
  response.unknown_attributes = std::move(attributes);
  return {arrived, Encode(response)};
}

}  // namespace

std::optional<Answer> AnswerRequest(std::span<const uint8_t> datagram, const Endpoint& source,
                                    const IpAddress& local, ServerPort arrived,
                                    const ServerPorts& ports) {
  const auto request = Parse(datagram);
  if (!request || request->message_class != Class::kRequest || request->method != kBinding) {
    return std::nullopt;
  }
  if (!request->not_understood.empty()) return Refuse(*request, arrived, request->not_understood);

  Message response = ResponseTo(*request, Class::kSuccess);
  response.xor_mapped = source;
  if (!request->change_request) return Answer{arrived, Encode(response)};

  const uint32_t change = request->change_request->flags;
  const bool has_second = ports.second != 0;
  const bool wants_port = (change & ChangeRequest::kPort) != 0;
  if ((change & ChangeRequest::kIp) != 0 || (wants_port && !has_second)) {
    return Refuse(*request, arrived, {kChangeRequestAttribute});
  }
  const ServerPort from = wants_port ? OtherOf(arrived) : arrived;
  response.response_origin = Endpoint{.address = local, .port = ports.of(from)};
  if (has_second) {
    response.other_address = Endpoint{.address = local, .port = ports.of(OtherOf(arrived))};
  }
  return Answer{from, Encode(response)};
}

}  // namespace omni::stun
