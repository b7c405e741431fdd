// SPDX-License-Identifier: Apache-2.0
// The secrets of the cluster change while the node runs: a reload says so. No session ends by it;
// handshakes from then on are made and taken with what is held then.
#include "controller/core/secrets.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "controller/core/controller.h"

namespace omni {

noise::SecretTag TagOf(const ClusterId& cluster) {
  noise::SecretTag tag{};
  std::copy_n(cluster.bytes.begin(), tag.size(), tag.begin());
  return tag;
}

std::vector<noise::ClusterSecret> SecretsOf(const ClusterKeyring& keyring) {
  std::vector<noise::ClusterSecret> secrets;
  for (const ClusterKeys& keys : keyring.held()) {
    secrets.push_back({.psk = keys.psk.Clone(), .tag = TagOf(keys.key.id())});
  }
  return secrets;
}

void Controller::TakeSecrets(ClusterKeyring secrets) {
  if (secrets == *keyring_) {
    keyring_ = std::move(secrets);
    return;
  }
  keyring_ = std::move(secrets);
  spdlog::info("cluster secret: {} is used{}", keyring_->present().key.id().ToString(),
               keyring_->held().size() == 1
                   ? ""
                   : ", " + keyring_->held().back().key.id().ToString() + " is accepted");
  handshakes_.SetSecrets(SecretsOf(*keyring_));
  for (const auto& [id, learned] : learned_) TellSecretsOf(learned.record);
  LiftRevocations();
  if (!discovery_) return;
  discovery_->OnSecrets();
  sync_.MarkNode();  // with other keys of beacons and knocks
  Push();
}

// What was signed under a secret that is no longer held is void.
void Controller::LiftRevocations() {
  const size_t before = revocations_.list().size();
  revocations_.SetKeys(keyring_->keys());
  if (revocations_.list().size() == before) return;
  SaveRevocationsSoon();
  handshakes_.engine().RefuseNobody();
  for (const auto& [name, peer] : peers_) {
    if (!peer->revoked) continue;
    if (const auto* still = revocations_.Find(peer->id())) {
      Disable(*peer, still->revocation);
    } else {
      spdlog::warn("peer {}: not revoked any more: that was said under a former secret", name);
      Enable(*peer);
    }
  }
  Push();
}

// The newest that both hold.
void Controller::TellSecretsOf(const NodeRecord& record) {
  if (!keyring_) return;
  for (const ClusterId& id : keyring_->ids()) {
    if (!record.Holds(id)) continue;
    handshakes_.engine().SetPeerSecret(record.id(), TagOf(id));
    return;
  }
}

// The newest that both hold, as far as it is known; unset: it is not, or there is none.
std::optional<ClusterId> Controller::SharedSecretWith(const NodeId& id) const {
  const auto learned = learned_.find(id);
  const auto tag = handshakes_.engine().SecretOf(id);
  for (const ClusterId& own : keyring_->ids()) {
    const bool holds = learned != learned_.end() ? learned->second.record.Holds(own)
                                                 : tag.has_value() && TagOf(own) == *tag;
    if (holds) return own;
  }
  return std::nullopt;
}

std::optional<ClusterId> Controller::ClusterOf(const Peer& peer) const {
  if (const auto learned = learned_.find(peer.id()); learned != learned_.end()) {
    return learned->second.record.cluster;
  }
  const auto tag = handshakes_.engine().SecretOf(peer.id());
  if (!tag || !keyring_) return std::nullopt;
  for (const ClusterId& id : keyring_->ids()) {
    if (TagOf(id) == *tag) return id;
  }
  return std::nullopt;
}

}  // namespace omni
