// SPDX-License-Identifier: Apache-2.0
#include "controller/nat/reflector.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace omni {
namespace {

// LIMIT: requests at 0, 0.5 and 1.5 s, given up at 3 s: who waits at a terminal wants to know, and
// a later round repeats it anyway.
constexpr stun::Timing kTiming{.initial_rto = 500ms, .max_requests = 3, .last_wait_rtos = 3};
// LIMIT: a mapping that changes without an address of ours changing (a NAT that restarted) is found
// by the Nucleus' connection as well, within its keepalive; this is for the other family.
constexpr Duration kInterval = 300s;
constexpr Duration kRetryInterval = 60s;
constexpr size_t kMaxServers = 4;

}  // namespace

void Reflector::SetServers(const std::vector<Endpoint>& servers, Instant now) {
  std::vector<Endpoint> wanted;
  for (const Endpoint& server : servers) {
    const auto same_family = [&](const Endpoint& other) {
      return other.address.family == server.address.family;
    };
    const auto count = std::count_if(wanted.begin(), wanted.end(), same_family);
    if (static_cast<size_t>(count) < kMaxServers) wanted.push_back(server);
  }
  if (wanted == servers_) return;
  servers_ = std::move(wanted);
  Stop();
  Start(now);
}

void Reflector::SetOwn(std::vector<Endpoint> own, Instant now) {
  if (own == own_) return;
  own_ = std::move(own);
  Stop();  // what is under way may have left by an address that is gone
  Start(now);
}

void Reflector::Start(Instant now) {
  if (is_busy()) return;
  next_round_.reset();
  round_.clear();
  for (const Endpoint& server : servers_) Ask(server, now);
  OnTimer(now);
}

void Reflector::Stop() {
  transactions_.clear();
  round_.clear();
  next_round_.reset();
}

void Reflector::Ask(const Endpoint& server, Instant now) {
  round_.try_emplace(server.address.family);
  // CHANGE-REQUEST that changes nothing: the server names its other port.
  transactions_.emplace_back(
      stun::Message{.id = NewStunId(options_.key), .change_request = stun::ChangeRequest{}}, server,
      kTiming, now);
}

void Reflector::OnDatagram(std::span<const uint8_t> datagram, const Endpoint& from, Instant now) {
  for (auto it = transactions_.begin(); it != transactions_.end(); ++it) {
    const auto response = it->OnDatagram(datagram, from, now);
    if (!response) continue;
    const stun::Transaction asked = *it;
    transactions_.erase(it);
    OnResponse(asked, *response, now);
    OnTimer(now);  // sends what that began; ends the round
    return;
  }
}

void Reflector::OnResponse(const stun::Transaction& asked, const stun::Message& response,
                           Instant now) {
  const Endpoint& server = asked.server();
  Round& round = round_.at(server.address.family);
  const auto mapped = response.reflexive();
  if (response.message_class == stun::Class::kError || !mapped ||
      mapped->address.family != server.address.family) {
    round.error = fmt::format("{} refuses", server.ToString());
    return;
  }
  const bool is_first_of_server =
      std::none_of(round.observations.begin(), round.observations.end(),
                   [&](const auto& o) { return o.server.address == server.address; });
  round.observations.push_back({server, *mapped});
  if (asked.rtt() && (!round.rtt || *asked.rtt() < *round.rtt)) round.rtt = asked.rtt();
  const auto& other = response.other_address;
  // A port of the same machine, and no more than one: whoever forges an answer must not make us
  // send wherever it likes.
  if (is_first_of_server && other && other->address == server.address &&
      other->port != server.port) {
    Ask(*other, now);
  }
}

void Reflector::OnTimer(Instant now) {
  if (next_round_ && *next_round_ <= now) return Start(now);
  for (auto it = transactions_.begin(); it != transactions_.end();) {
    if (it->OnTimer(now)) options_.send(it->server(), it->request());
    if (it->state() == stun::Transaction::State::kTimedOut) {
      round_.at(it->server().address.family).error =
          fmt::format("no answer from {}", it->server().ToString());
      it = transactions_.erase(it);
    } else {
      ++it;
    }
  }
  EndIfDone(now);
}

void Reflector::EndIfDone(Instant now) {
  if (is_busy() || round_.empty()) return;
  known_.clear();
  bool complete = true;
  for (const auto& [family, round] : std::exchange(round_, {})) {
    Reflection& known = known_[family];
    known.mapping = stun::Classify(round.observations, own_);
    known.rtt = round.rtt;
    if (round.observations.empty()) {
      known.error = round.error;
      complete = false;
    } else {
      known.mapped = round.observations.front().mapped;
    }
  }
  next_round_ = now + (complete ? kInterval : kRetryInterval);
  options_.done();
}

std::optional<Instant> Reflector::NextDeadline() const {
  std::optional<Instant> next = next_round_;
  for (const stun::Transaction& transaction : transactions_) {
    const auto deadline = transaction.NextDeadline();
    if (deadline && (!next || *deadline < *next)) next = deadline;
  }
  return next;
}

std::optional<Reflection> Reflector::view(IpFamily family) const {
  const auto found = known_.find(family);
  return found == known_.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace omni
