// SPDX-License-Identifier: Apache-2.0
// Transaction: one Binding request over UDP and its retransmissions (RFC 8489 section 6.2.1), as a
// machine that is fed: time and datagrams in, the request to be sent and its response out. Pure.
//
//   Transaction t(request, server, {}, now);
//   send t.request() whenever OnTimer(now) says so; call OnTimer() at NextDeadline()
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/clock.h"
#include "common/ip.h"
#include "signal/stun/message.h"

namespace omni::stun {

// LIMIT: RFC 8489 section 6.2.1: RTO, Rc and Rm: requests at 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5
// s, given up at 39.5 s.
struct Timing {
  Duration initial_rto = 500ms;
  int max_requests = 7;
  int last_wait_rtos = 16;  // after the last request, in initial RTOs
};

class Transaction {
 public:
  enum class State : uint8_t { kWaiting, kAnswered, kTimedOut };

  Transaction(const Message& request, const Endpoint& server, Timing timing, Instant now);

  // Whether the request is to be sent (again) now. The first call sends it.
  bool OnTimer(Instant now);
  // The response, success or error, if the datagram is it. Another transaction's, a malformed one
  // and one from elsewhere change nothing: anybody may send those.
  std::optional<Message> OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from,
                                    Instant now);
  std::optional<Instant> NextDeadline() const;

  State state() const { return state_; }
  const Endpoint& server() const { return server_; }
  const TransactionId& id() const { return id_; }
  const std::vector<uint8_t>& request() const { return bytes_; }
  // Of a request that was sent once: else nobody knows which one was answered (Karn).
  std::optional<Duration> rtt() const { return rtt_; }

 private:
  const TransactionId id_;
  const std::vector<uint8_t> bytes_;
  const Endpoint server_;
  const Timing timing_;
  State state_ = State::kWaiting;
  int sent_ = 0;
  Duration rto_;
  Instant first_sent_;
  Instant deadline_;
  std::optional<Duration> rtt_;
};

}  // namespace omni::stun
