// SPDX-License-Identifier: Apache-2.0
// What is inside a HandshakeEngine: engine.cc does the handshakes, engine_api.cc is the door.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "common/wire.h"
#include "controller/noise/cookies.h"
#include "controller/noise/engine.h"
#include "controller/noise/ik_psk2.h"
#include "controller/noise/payload.h"
#include "controller/noise/peer_table.h"

namespace omni::noise {

class HandshakeEngine::Impl {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        own_static_(PublicOf(options_.static_private)),
        mac1_key_(Mac1Key(own_static_)),
        cookies_(own_static_, options_.environment) {
    environment().Random({boot_secret_.mutable_data(), boot_secret_.size()});
    SetWorkers(options_.workers);
    secrets_.push_back({.psk = std::move(options_.cluster_psk)});
  }

  absl::Status AddPeer(const NodeId& id, PeerOptions options);
  void SetSecrets(std::vector<ClusterSecret> secrets);
  void RemovePeer(Peer& peer);
  void SetEndpoint(Peer& peer, const Endpoint& endpoint);
  void SetCandidates(Peer& peer, std::vector<Endpoint> candidates);
  void SetRelay(Peer& peer, const Endpoint& relay);
  void SetWorkers(int workers) { workers_ = std::clamp(workers, 1, kMaxWorkers); }
  void SetControlChannels(int channels) {
    control_channels_ = static_cast<uint8_t>(std::clamp(channels, 0, kMaxControlChannels));
  }
  void SetCiphers(std::span<const Cipher> ciphers) {
    const bool aes = std::ranges::find(ciphers, Cipher::kAes256Gcm) != ciphers.end();
    ciphers_ = kOffersChaCha20Poly1305 | (aes ? kOffersAes256Gcm : 0);
  }

  void Initiate(Output& out, Peer& peer, Instant now);
  void OnInitiation(Output& out, std::span<const uint8_t> datagram, const Endpoint& from,
                    Instant now);
  void OnResponse(Output& out, std::span<const uint8_t> datagram, const Endpoint& from,
                  Instant now);
  void OnCookieReply(Output& out, std::span<const uint8_t> datagram, const Endpoint& from,
                     Instant now);
  void OnTimer(Output& out, Instant now);
  void Punch(Output& out, Peer& peer, Instant now);
  void EndHandshake(Peer& peer);

  PeerTable& peers() { return peers_; }
  absl::flat_hash_set<uint64_t>& tags() { return tags_; }
  absl::flat_hash_set<PublicKey>& refused() { return refused_; }
  const std::array<uint8_t, 32>& mac1_key() const { return mac1_key_; }

 private:
  Environment& environment() { return *options_.environment; }
  void CallIfWanted(Peer& peer);
  bool PassesLoadCheck(Output& out, std::span<const uint8_t> datagram, uint32_t sender_index,
                       const Endpoint& from, Instant now);
  void SendInitiation(Output& out, Peer& peer, Instant now);
  void SendByRelay(Output& out, Peer& peer);
  void RelayLater(Peer& peer, Instant now);
  // An initiation that is sound, and which of our secrets it was made with.
  struct Checked {
    InitiationPayload payload;
    size_t secret = 0;
  };
  void SendResponse(Output& out, Peer& peer, Responder& noise, const Checked& initiation,
                    uint32_t receiver_index, const Endpoint& from, Instant now);
  std::optional<Checked> CheckInitiation(Output& out, Peer& peer, const wire::Initiation& message,
                                         Responder& noise, const Endpoint& from, Instant now);
  std::vector<Key32> PsksOf(const Peer& peer) const;
  std::optional<size_t> IndexOf(const std::optional<SecretTag>& tag) const;
  size_t SecretFor(const Peer& peer) const;
  std::optional<SecretTag> OwnTag() const;
  std::vector<uint8_t> FinishMessage(Peer& peer, SentKind kind, std::vector<uint8_t> bytes,
                                     Instant now);
  void AbandonTry(Peer& peer);
  Offer NewOffer(const Hash& hash);
  uint64_t NewTag(const Hash& hash);
  uint64_t NextTimestamp();
  Key32 NewEphemeral();

  Options options_;
  const PublicKey own_static_;
  const std::array<uint8_t, 32> mac1_key_;
  CookieIssuer cookies_;
  LoadLimiter load_;
  Key32 boot_secret_;
  std::vector<ClusterSecret> secrets_;  // never empty
  PeerTable peers_;
  absl::flat_hash_set<uint64_t> tags_;
  absl::flat_hash_set<PublicKey> refused_;  // LIMIT: of revoked nodes, 1,000 of a cluster
  int workers_ = 1;
  uint8_t control_channels_ = 0;
  uint8_t ciphers_ = kOffersChaCha20Poly1305;
  uint64_t last_timestamp_ = 0;
};

}  // namespace omni::noise
