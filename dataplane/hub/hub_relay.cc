// SPDX-License-Identifier: Apache-2.0
// Channels of one peer that are open for another (relay): who opened what, for how long, within
// which quotas. A channel belongs to the worker of its number, with its window; the hub holds who
// it is of. docs/SIGNALING.md section 12.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "bpf/steer_abi.h"
#include "common/status.h"
#include "dataplane/hub/hub.h"

namespace omni {
namespace {

constexpr Duration kRelayCheckInterval = std::chrono::seconds(1);
// LIMIT: more than any bucket takes to be full: a quarter of a second, or 64 KiB at 1 Mbit/s. How
// full that of XDP is, nobody else knows.
constexpr Duration kPairRest = std::chrono::seconds(1);
static_assert(HubLimits::kRelayed == OMNI_STEER_RELAYS);
static_assert(kRelayWindow == OMNI_STEER_RELAY_WINDOW);

}  // namespace

// Other quotas hold at once, for what is open as well.
void Hub::SetRelayLimits(const std::optional<RelayLimits>& limits) {
  if (!limits) {
    CloseRelays([](const auto&) { return true; });
    relay_total_.reset();
    return;
  }
  if (relay_total_ == nullptr) relay_total_ = std::make_shared<RelayQuota>(0);
  relay_total_->SetRate(limits->total_bytes_per_s);
  for (auto& [pair, state] : relay_pairs_) state.quota->SetRate(limits->pair_bytes_per_s);
}

absl::Status Hub::CheckRelay(const RelaySpec& spec) const {
  if (relay_total_ == nullptr) {
    return absl::FailedPreconditionError("node.relay: this node does not relay");
  }
  if (spec.from == spec.to) return absl::InvalidArgumentError("to: is the same peer as from");
  for (const NodeId& id : {spec.from, spec.to}) {
    const auto peer = peers_.find(id);
    if (peer == peers_.end()) {
      return absl::NotFoundError(fmt::format("no peer {}", id.ToString()));
    }
    if (peer->second->current == nullptr) {
      return absl::FailedPreconditionError(fmt::format("no session with {}", id.ToString()));
    }
  }
  const RelayPair pair(spec.from, spec.to);
  uint32_t fresh = 0;
  for (const ChannelId id : spec.channels) {
    const auto known = relayed_.find(id);
    const bool is_anothers = known != relayed_.end() && known->second.pair != pair;
    if (is_anothers || receive_ids_.contains(id)) {
      return absl::InvalidArgumentError(fmt::format("channels: {:016x} is in use", id));
    }
    fresh += known == relayed_.end() ? 1 : 0;
  }
  const auto state = relay_pairs_.find(pair);
  const uint32_t open = state == relay_pairs_.end() ? 0 : state->second.channels;
  if (relayed_.size() + fresh > HubLimits::kRelayed || open + fresh > HubLimits::kRelayedOfPair) {
    return absl::ResourceExhaustedError("channels: too many are open");
  }
  return absl::OkStatus();
}

absl::Status Hub::OpenRelay(const RelaySpec& spec, Instant now) {
  const std::lock_guard lock(mutex_);
  CloseRelays([now](const Relayed& one) { return one.expires <= now; });
  RETURN_IF_ERROR(CheckRelay(spec));
  const RelayPair pair(spec.from, spec.to);
  PairState& state = relay_pairs_[pair];
  if (state.quota == nullptr) {
    state.quota = std::make_shared<RelayQuota>(node_.relay->pair_bytes_per_s);
    state.number = next_relay_pair_++;
  }
  state.empty_since.reset();
  const Peer& from = *FindPeer(spec.from);
  const Peer& to = *FindPeer(spec.to);
  for (const ChannelId id : spec.channels) {
    const auto [entry, is_new] = relayed_.try_emplace(id, Relayed{.pair = pair, .expires = {}});
    // Of two openings the longer one counts: they may overtake each other.
    entry->second.expires = std::max(entry->second.expires, now + spec.lifetime);
    RelayRoute route{.from = from.index,
                     .to = to.index,
                     .expires = entry->second.expires,
                     .total = relay_total_,
                     .channel = nullptr};
    if (is_new) {
      ++state.channels;
      route.channel = std::make_shared<RelayedChannel>();
      route.channel->pair = state.quota;
      if (watch_ != nullptr) watch_->ChannelAdded(id, ChannelUse::kRelayed);
    }
    if (relay_watch_ != nullptr) {
      relay_watch_->RelayOpened({.id = id,
                                 .from = from.index,
                                 .to = to.index,
                                 .from_path = from.path,
                                 .to_path = to.path,
                                 .pair = state.number,
                                 .expires = entry->second.expires});
    }
    workers_[ChannelNumber(id) % workers_.size()]->mailbox().Post(
        [id, route = std::move(route)](Worker& w) { w.OpenRelay(id, route); });
  }
  return absl::OkStatus();
}

template <typename Condition>
void Hub::CloseRelays(Condition is_over) {
  for (auto entry = relayed_.begin(); entry != relayed_.end();) {
    const auto here = entry++;
    if (!is_over(here->second)) continue;
    const ChannelId id = here->first;
    workers_[ChannelNumber(id) % workers_.size()]->mailbox().Post(
        [id](Worker& w) { w.CloseRelay(id); });
    if (relay_watch_ != nullptr) relay_watch_->RelayClosed(id);
    if (watch_ != nullptr) watch_->ChannelRemoved(id);
    --relay_pairs_.at(here->second.pair).channels;
    relayed_.erase(here);
  }
}

void Hub::CloseRelaysOf(const NodeId& id) {
  CloseRelays([&id](const Relayed& one) { return one.pair.first == id || one.pair.second == id; });
  absl::erase_if(relay_pairs_, [&id](const auto& entry) {
    return entry.first.first == id || entry.first.second == id;
  });
}

void Hub::TickRelays(Instant now) {
  if (now - relays_checked_ < kRelayCheckInterval) return;
  relays_checked_ = now;
  CloseRelays([now](const Relayed& one) { return one.expires <= now; });
  // Else a pair that comes and goes would have its quota anew each time.
  absl::erase_if(relay_pairs_, [now](auto& entry) {
    PairState& state = entry.second;
    if (state.channels > 0) return false;
    if (!state.empty_since) state.empty_since = now;
    return now - *state.empty_since >= kPairRest && state.quota->IsFull(now);
  });
}

std::optional<RelayView> Hub::GetRelay() const {
  const std::lock_guard lock(mutex_);
  if (relay_total_ == nullptr) return std::nullopt;
  const RelayTraffic at_xdp = GetRelayedAtXdp();
  RelayView out{
      .pairs = 0, .channels = relayed_.size(), .packets = at_xdp.packets, .bytes = at_xdp.bytes};
  for (const auto& [pair, state] : relay_pairs_) out.pairs += state.channels > 0 ? 1 : 0;
  for (const Worker* worker : workers_) {
    out.packets += worker->relayed().packets.value();
    out.bytes += worker->relayed().bytes.value();
  }
  return out;
}

}  // namespace omni
