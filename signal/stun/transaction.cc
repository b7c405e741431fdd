// SPDX-License-Identifier: Apache-2.0
#include "signal/stun/transaction.h"

namespace omni::stun {

Transaction::Transaction(const Message& request, const Endpoint& server, Timing timing, Instant now)
    : id_(request.id),
      bytes_(Encode(request)),
      server_(server),
      timing_(timing),
      rto_(timing.initial_rto),
      deadline_(now) {}

bool Transaction::OnTimer(Instant now) {
  if (state_ != State::kWaiting || now < deadline_) return false;
  if (sent_ == timing_.max_requests) {
    state_ = State::kTimedOut;
    return false;
  }
  if (sent_ == 0) first_sent_ = now;
  ++sent_;
  if (sent_ == timing_.max_requests) {
    deadline_ = now + timing_.initial_rto * timing_.last_wait_rtos;
  } else {
    deadline_ = now + rto_;
    rto_ *= 2;
  }
  return true;
}

std::optional<Message> Transaction::OnDatagram(std::span<const uint8_t> datagram,
                                               const Endpoint& from, Instant now) {
  if (state_ != State::kWaiting || sent_ == 0 || from != server_) return std::nullopt;
  auto message = Parse(datagram);
  if (!message || message->id != id_ || message->method != kBinding) return std::nullopt;
  const bool is_response =
      message->message_class == Class::kSuccess || message->message_class == Class::kError;
  // RFC 8489 section 6.3.4: a response with an unknown comprehension-required attribute, or without
  // what makes it one, counts as none.
  if (!is_response || !message->not_understood.empty()) return std::nullopt;
  if (message->message_class == Class::kSuccess && !message->reflexive()) return std::nullopt;
  if (message->message_class == Class::kError && !message->error_code) return std::nullopt;
  state_ = State::kAnswered;
  if (sent_ == 1) rtt_ = now - first_sent_;
  return message;
}

std::optional<Instant> Transaction::NextDeadline() const {
  return state_ == State::kWaiting ? std::optional(deadline_) : std::nullopt;
}

}  // namespace omni::stun
