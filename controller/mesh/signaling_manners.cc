// SPDX-License-Identifier: Apache-2.0
// How each other node is treated: how much it may say, and by which secret it is spoken to while
// the cluster changes from one to another.
#include <algorithm>

#include "controller/mesh/signaling.h"

namespace omni {
namespace {

// LIMIT: nodes that are remembered; whoever was not spoken to for the longest time is forgotten.
constexpr size_t kMaxManners = 4096;

}  // namespace

PeerSignaling::Manners& PeerSignaling::MannersOf(const NodeId& peer) {
  if (!manners_.contains(peer) && manners_.size() >= kMaxManners) {
    manners_.erase(
        std::ranges::min_element(manners_, {}, [](const auto& e) { return e.second.used; }));
  }
  Manners& manners = manners_[peer];
  manners.used = now_;
  return manners;
}

bool PeerSignaling::TakeToken(Bucket& bucket, double burst, double per_second) const {
  const std::chrono::duration<double> elapsed = now_ - bucket.filled;
  bucket.tokens = std::min(burst, bucket.tokens + elapsed.count() * per_second);
  bucket.filled = now_;
  if (bucket.tokens < 1) return false;
  bucket.tokens -= 1;
  return true;
}

// Where nothing is known, by turns: a try with the wrong one gets silence.
const ClusterKeys& PeerSignaling::SecretFor(const NodeId& peer, const Manners& manners) const {
  const auto& held = options_.cluster->held();
  const auto known = options_.secret_of(peer);
  return known ? SecretOf(*known) : held[manners.failures % held.size()];
}

const ClusterKeys& PeerSignaling::SecretOf(const ClusterId& cluster) const {
  const auto& held = options_.cluster->held();
  const auto found =
      std::ranges::find_if(held, [&](const ClusterKeys& keys) { return keys.key.id() == cluster; });
  return found == held.end() ? held.front() : *found;
}

// The peer, which began, has chosen.
ClusterId PeerSignaling::KnockedWith(quic::ConnectionId id) const {
  for (const ClusterKeys& keys : options_.cluster->held()) {
    if (host_->knock(id) == KnockKeyOf(keys.psk, options_.identity->node_id())) {
      return keys.key.id();
    }
  }
  return options_.cluster->present().key.id();
}

}  // namespace omni
