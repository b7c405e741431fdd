// SPDX-License-Identifier: Apache-2.0
#include "nucleus/relay/relay.h"

#include <algorithm>

namespace omni {
namespace {

// LIMIT: a node that has 60 relayed peers opens some 17 channels for each, of three sessions; and
// as many for offers to peers that do not answer.
constexpr size_t kMaxChannelsOfNode = 6144;
// LIMIT: 400 bytes each with its window: 100 MiB in all.
constexpr size_t kMaxChannels = size_t{1} << 18U;

}  // namespace

bool Relay::Open(const RelayParty& from, const RelayParty& to, std::span<const uint64_t> channels,
                 Instant expires, Instant now) {
  if (!enabled() || channels.size() > kMaxOpenChannels) return false;
  std::vector<Key>& opened = opened_by_[to];
  if (opened.size() + channels.size() > kMaxChannelsOfNode) DropExpired(now);
  if (opened_by_[to].size() + channels.size() > kMaxChannelsOfNode ||
      channels_.size() + channels.size() > kMaxChannels) {
    return false;
  }
  const auto is_anothers = [&](uint64_t id) {
    const auto known = channels_.find({from, id});
    return known != channels_.end() && known->second.to != to.node && known->second.expires > now;
  };
  if (std::any_of(channels.begin(), channels.end(), is_anothers)) return false;
  for (const uint64_t id : channels) {
    const Key key{from, id};
    const auto [channel, is_new] = channels_.try_emplace(key);
    if (!is_new && channel->second.to != to.node) Erase(key, {to.cluster, channel->second.to});
    Channel& entry = channels_[key];
    if (is_new || entry.to != to.node) opened_by_[to].push_back(key);
    entry.to = to.node;
    entry.expires = expires;
  }
  return true;
}

// Takes the key off its node's list; and the channel itself.
void Relay::Erase(const Key& key, const RelayParty& to) {
  const auto opened = opened_by_.find(to);
  if (opened != opened_by_.end()) {
    std::erase(opened->second, key);
    if (opened->second.empty()) opened_by_.erase(opened);
  }
  channels_.erase(key);
}

void Relay::Close(const RelayParty& to) {
  const auto opened = opened_by_.extract(to);
  if (opened.empty()) return;
  for (const Key& key : opened.mapped()) {
    channels_.erase(key);
    pairs_.erase({key.from, to.node});
  }
}

void Relay::DropExpired(Instant now) {
  for (auto opened = opened_by_.begin(); opened != opened_by_.end();) {
    std::erase_if(opened->second, [&](const Key& key) {
      const auto channel = channels_.find(key);
      if (channel->second.expires > now) return false;
      channels_.erase(channel);
      return true;
    });
    if (opened->second.empty()) {
      opened_by_.erase(opened++);
    } else {
      ++opened;
    }
  }
  // A quota that is full again, and that no channel has, is as good as a new one.
  absl::erase_if(pairs_, [&](const auto& entry) {
    return entry.second.use_count() == 1 && entry.second->IsFull(now);
  });
}

std::unique_ptr<RelayedChannel> Relay::MakeState(const RelayParty& from, const NodeId& to) {
  std::shared_ptr<RelayQuota>& pair = pairs_[{from, to}];
  if (pair == nullptr) pair = std::make_shared<RelayQuota>(options_.pair_bytes_per_s);
  return std::make_unique<RelayedChannel>(RelayedChannel{.window = {}, .pair = pair});
}

Relay::Decision Relay::Refuse(Verdict verdict) {
  ++counts_[static_cast<size_t>(verdict)];
  return {.verdict = verdict, .to = std::nullopt};
}

Relay::Decision Relay::Take(const RelayParty& from, std::span<const uint8_t> datagram,
                            Instant now) {
  if (datagram.size() < kSessionHeaderBytes) return Refuse(Verdict::kMalformed);
  const auto found = channels_.find({from, RelayedChannelId(datagram)});
  if (found == channels_.end() || found->second.expires <= now) return Refuse(Verdict::kUnknown);
  Channel& channel = found->second;
  if (channel.state == nullptr) channel.state = MakeState(from, channel.to);
  const Verdict verdict = JudgeRelayed(datagram, *channel.state, total_, now);
  if (verdict != Verdict::kForward) return Refuse(verdict);
  ++counts_[static_cast<size_t>(Verdict::kForward)];
  bytes_ += datagram.size();
  return {.verdict = Verdict::kForward, .to = channel.to};
}

}  // namespace omni
